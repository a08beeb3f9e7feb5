"""Models for people, in 80 columns: what is here, what other programs have, what a removal deletes.

A name is shown whole. What has no room beside it goes below it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from dslocal.files import decimal_size
from dslocal.terminal.sanitise import one_line

from .plain_console import plain_console

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel

Fields = Mapping[str, Any]  # what a command prints as JSON
MAX_NAME_BESIDE = 36  # cells of a name that has the rest of its row beside it
MAX_FILES_NAMED = 3  # of one folder, in a removal
MAX_LEFTOVERS = 20  # that are listed one by one
MAX_LINE = 5000  # characters
COMMIT_DIGITS = 40
DEFAULT = "the default model, used where a command names none"


class ModelRow(NamedTuple):
    """A row of a table of models; ``remark`` always is below it."""

    name: str
    quant: str
    size: str
    how: str
    origin: str
    remark: str = ""


HEADER = ModelRow("model", "quant", "size", "how", "from")


# What is here


def print_models(found: Fields, default: str) -> None:
    """Print the models on this machine.

    Args:
        found: What ``dslocal models --json`` prints.
        default: The model that answers where none is named, as ``NAME:QUANT`` or a path.
    """
    rows = [_model_row(model, default) for model in found["models"]]
    for cached in found["cached"]:
        size = decimal_size(cached["bytes"])
        remark = _remark_of_default(cached, default)
        rows.append(
            ModelRow(cached["name"], cached["quant"], size, "cached", cached["path"], remark)
        )
    _print_table(rows)
    print()
    if default and not any(row.remark.startswith(DEFAULT) for row in rows):
        _print(f"{default} is {DEFAULT}")
    _print_disk_use(found["disk"])
    if found["leftovers"]:
        _print_leftovers(found["leftovers"])
    if found["logits"]:
        kept = decimal_size(sum(file["bytes"] for file in found["logits"]))
        _print(f"results that dslocal quality keeps: {kept} (dslocal rm --logits deletes them)")
    if found["known"]:
        _print(
            f"models.yaml knows {found['known']} more: dslocal fit lists them and shows which run "
            "here"
        )


def _remark_of_default(model: Fields, default: str) -> str:
    """Return what to say of a model if it is the default."""
    full_name = f"{model['name']}:{model['quant']}"
    return DEFAULT if default in (full_name, model.get("path")) else ""


def _model_row(model: Fields, default: str) -> ModelRow:
    name, quant = model["name"], model["quant"]
    remark = _remark_of_default(model, default)
    if model["how"] == "ships":
        origin = "converted when it is used"
        if model["converted"]:
            converted = sum(file["bytes"] for file in model["converted"])
            origin = f"converted: {decimal_size(converted)}"
    else:
        origin = _short_origin(model["from"]) if model["from"] != model["missing"] else ""
        if model["missing"]:
            remark = f"gone: {model['missing']}; dslocal rm {name}:{quant} removes the model"
    return ModelRow(name, quant, decimal_size(model["bytes"]), model["how"], origin, remark)


def _short_origin(origin: str) -> str:
    """Return where a model is from, with a commit by its first digits."""
    commit = origin.rpartition("@")[2]
    is_commit = commit != origin and len(commit) == COMMIT_DIGITS
    return origin.removesuffix(commit) + commit[:7] if is_commit else origin


def _print_disk_use(disk: Fields) -> None:
    own = disk["converted"] + disk["downloaded"]
    if own:
        parts = [
            f"{decimal_size(disk[how])} {how}" for how in ("converted", "downloaded") if disk[how]
        ]
        _print(f"dslocal's own files take {decimal_size(own)}: {', '.join(parts)}")
    if disk["imported"]:
        imported = decimal_size(disk["imported"])
        _print(f"imported files, which dslocal does not delete, take {imported}")


def _print_leftovers(leftovers: Sequence[Fields]) -> None:
    total = decimal_size(sum(leftover["bytes"] for leftover in leftovers))
    _print(
        f"interrupted downloads and conversions left {total}, which dslocal rm --leftovers deletes:"
    )
    for leftover in leftovers[:MAX_LEFTOVERS]:
        _print(f"{decimal_size(leftover['bytes'])}  {leftover['path']}", indent=2)
    if len(leftovers) > MAX_LEFTOVERS:
        _print(f"and {len(leftovers) - MAX_LEFTOVERS} more", indent=2)


# What other programs have


def print_imported(entry: InstalledModel, name: str) -> None:
    """Print in one line what an imported model is called now, and how it is used."""
    line = (
        f'{entry.full_name}, {decimal_size(entry.nbytes)}: dslocal ask -m {name} "…";'
        f" it stays where it is: {entry.path}"
    )
    print(one_line(line, MAX_LINE))


def print_found(
    usable: Sequence[Fields], refused: Sequence[Fields], searched: Iterable[Fields]
) -> None:
    """Print models of other programs, or where they were looked for when there are none.

    Args:
        usable: Models that can be imported.
        refused: Models that cannot, each with the reason.
        searched: The folders that were looked through.
    """
    if usable:
        _print_table([_foreign_row(model) for model in usable])
        print()
    else:
        _print("No DeepSeek model of another program was found. Looked in:")
        for folder in searched:
            missing = "" if folder["there"] else ", which does not exist"
            _print(f"{folder['app']}: {folder['path']}{missing}", indent=2)
    if refused:
        plural = "s" if len(refused) > 1 else ""
        first = refused[0]
        _print(f"{len(refused)} other{plural} cannot be imported: {first['name']}: {first['why']}")
    if usable:
        name = shlex.quote(usable[0]["name"])
        _print(f"dslocal import {name} uses one where it is; nothing is copied")
    else:
        _print(
            "dslocal import FILE uses any GGUF file of a DeepSeek model where it is;"
            " OLLAMA_MODELS says where Ollama's are"
        )


def _foreign_row(model: Fields) -> ModelRow:
    imported_as = model["imported_as"]
    where = f"imported as {imported_as}" if imported_as else model["path"]
    size = decimal_size(model["bytes"])
    return ModelRow(model["name"], model["quant"], size, model["app"], where)


# What a removal deletes


def print_removal(plan: Sequence[Fields]) -> None:
    """Print what a removal deletes and what stays, step by step."""
    for step in plan:
        title = f"{step['name']}:{step['quant']}" if step["name"] else ""
        indent = 2 if title else 0
        if title:
            reason = f": {step['why']}" if step["why"] and not step["stays"] else ""
            _print(title + reason)
        for line in _file_lines(step["deleted"]):
            _print(f"goes: {line}", indent=indent)
        for file in step["stays"]:
            _print(f"the file itself stays: {file} ({step['why']})", indent=indent)
        if not step["deleted"] and not step["stays"]:
            _print("its files are gone already", indent=2)
    if not plan:
        print("nothing to remove")


def _file_lines(files: Sequence[str]) -> Iterable[str]:
    """Yield each file, or how many there are in a folder where they are more than a few."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition("/")[0], []).append(file)
    for folder, inside in folders.items():
        if len(inside) <= MAX_FILES_NAMED:
            yield from inside
        else:
            yield f"{len(inside)} files in {folder}"


# Lines


def _print_table(rows: Sequence[ModelRow]) -> None:
    """Print rows below a header; an origin that has no room goes below its row."""
    rows = [ModelRow(*map(one_line, row)) for row in (HEADER, *rows)]
    name_widths = [cell_len(row.name) for row in rows]
    name_width = max((width for width in name_widths if width <= MAX_NAME_BESIDE), default=0)
    quant_width = max(cell_len(row.quant) for row in rows)
    size_width = max(cell_len(row.size) for row in rows)
    how_width = max(cell_len(row.how) for row in rows)
    for number, row in enumerate(rows):
        columns = [
            _pad(row.name if cell_len(row.name) <= name_width else "", name_width),
            _pad(row.quant, quant_width),
            f"{row.size:>{size_width}}",
            _pad(row.how, how_width),
        ]
        _print_row(row, "  ".join(columns), name_width, style="" if number else "dim")


def _print_row(row: ModelRow, line: str, name_width: int, *, style: str) -> None:
    console = plain_console()
    if cell_len(row.name) > name_width:
        console.print(Text(row.name, style, overflow="fold"))
    is_beside = cell_len(line) + 2 + cell_len(row.origin) <= console.width
    if is_beside:
        line = f"{line}  {row.origin}"
    console.print(Text(line.rstrip(), style, overflow="fold"))
    if not is_beside:
        _print(row.origin, indent=2)
    if row.remark:
        _print(row.remark, indent=2)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _print(text: str, *, indent: int = 0) -> None:
    """Print text on as many lines as it takes, each of them indented."""
    console = plain_console()
    width = console.width - indent
    for line in Text(one_line(text, MAX_LINE)).wrap(console, width, overflow="fold"):
        console.print(Text(" " * indent + line.plain.rstrip()))
