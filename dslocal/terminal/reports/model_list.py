"""What is on this machine, what another program has, and what a removal takes away, for people in
80 columns.

A name is shown whole. What has no room beside it goes below it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dslocal.files import decimal_size
from dslocal.terminal.sanitise import one_line

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel

Row = Mapping[str, Any]
WIDEST = 36  # columns of a name that has the rest of its row beside it
FEW = 3  # files of one folder that are named when they go
MOST = 20  # leftovers that are listed one by one
HEAD = ("model", "quant", "size", "how", "from")


def print_models(found: Mapping[str, Any]) -> None:
    """``found`` is what ``dslocal models --json`` prints."""
    rows = [_row(model) for model in found["models"]]
    rows += [
        (one["name"], one["quant"], decimal_size(one["bytes"]), "cached", one["path"], "")
        for one in found["cached"]
    ]
    _print_rows([(*HEAD, ""), *rows])
    print()
    disk = found["disk"]
    own = disk["converted"] + disk["downloaded"]
    if own:
        parts = ", ".join(
            f"{decimal_size(disk[how])} {how}" for how in ("converted", "downloaded") if disk[how]
        )
        _print(f"dslocal's own files take {decimal_size(own)}: {parts}")
    if disk["imported"]:
        _print(f"imported files, which are not dslocal's, take {decimal_size(disk['imported'])}")
    if left := found["leftovers"]:
        total = decimal_size(sum(one["bytes"] for one in left))
        _print(
            f"interrupted downloads and conversions left {total}, which dslocal rm --leftovers deletes:"
        )
        for one in left[:MOST]:
            _print(f"{decimal_size(one['bytes'])}  {one['path']}", indent=2)
        if len(left) > MOST:
            _print(f"and {len(left) - MOST} more", indent=2)
    if found["known"]:
        _print(
            f"models.yaml knows {found['known']} more: dslocal fit lists them, and what of them runs here"
        )


def print_imported(entry: InstalledModel, name: str) -> None:
    """One line: what it is called now, and how it is used."""
    print(
        one_line(
            f'{entry.spelled}, {decimal_size(entry.nbytes)}: dslocal ask -m {name} "…"; it stays where it is: {entry.path}',
            5000,
        )
    )


def print_found(usable: Sequence[Row], refused: Sequence[Row], looked: Iterable[Row]) -> None:
    """Models of other programs, and where they were looked for when there are none."""
    if not usable:
        _print("No DeepSeek model of another program was found. Looked in:")
        for root in looked:
            _print(
                f"{root['app']}: {root['path']}"
                + ("" if root["there"] else ", which is not there"),
                indent=2,
            )
    else:
        note = [
            f"imported as {model['imported_as']}" if model["imported_as"] else model["path"]
            for model in usable
        ]
        rows = [
            (m["name"], m["quant"], decimal_size(m["bytes"]), m["app"], where, "")
            for m, where in zip(usable, note, strict=True)
        ]
        _print_rows([(*HEAD, ""), *rows])
        print()
    if refused:
        _print(
            f"{len(refused)} other{'s' * (len(refused) > 1)} cannot be imported: {refused[0]['name']}: {refused[0]['why']}"
        )
    if usable:
        _print(
            f"dslocal import {shlex.quote(usable[0]['name'])} uses one where it is; nothing is copied"
        )
    else:
        _print(
            "dslocal import FILE uses any GGUF file of a DeepSeek model where it is; OLLAMA_MODELS says where Ollama's are"
        )


def print_removal(plan: Sequence[Row]) -> None:
    """What goes and what stays."""
    for step in plan:
        title = f"{step['name']}:{step['quant']}" if step["name"] else ""
        if title:
            again = f": {step['why']}" if step["why"] and not step["stays"] else ""
            _print(title + again)
        for line in _files(step["deleted"]):
            _print(f"goes: {line}", indent=2 * bool(title))
        for file in step["stays"]:
            _print(f"the file itself stays: {file} ({step['why']})", indent=2 * bool(title))
        if not step["deleted"] and not step["stays"]:
            _print("its files are gone already", indent=2)
    if not plan:
        print("nothing to remove")


def _files(files: Sequence[str]) -> Iterable[str]:
    """Each, or how many in which folder where they are more than a few."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition("/")[0], []).append(file)
    for folder, inside in folders.items():
        yield from inside if len(inside) <= FEW else [f"{len(inside)} files in {folder}"]


def _row(model: Row) -> tuple[str, ...]:
    name, quant, how = model["name"], model["quant"], model["how"]
    below = ""
    if how == "ships":
        made = model["converted"]
        origin = (
            f"converted: {decimal_size(sum(one['bytes'] for one in made))}"
            if made
            else "converted when it is used"
        )
    else:
        origin = _short(model["from"]) if model["from"] != model["missing"] else ""
        if model["missing"]:
            below = f"gone: {model['missing']}; dslocal rm {name}:{quant} forgets it"
    return name, quant, decimal_size(model["bytes"]), how, origin, below


def _short(origin: str) -> str:
    """A commit by its first digits."""
    head, at, commit = origin.rpartition("@")
    return f"{head}@{commit[:7]}" if at and len(commit) == 40 else origin


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """A table of six columns: the fifth goes below where it has no room, the last always."""
    console = _console()
    cells = [[one_line(text) for text in row] for row in rows]
    first = max((cell_len(row[0]) for row in cells if cell_len(row[0]) <= WIDEST), default=0)
    widths = [first, *(max(cell_len(row[i]) for row in cells) for i in (1, 2, 3))]
    for number, (name, quant, nbytes, how, origin, below) in enumerate(cells):
        rest = f"{_pad(quant, widths[1])}  {nbytes:>{widths[2]}}  {_pad(how, widths[3])}"
        style = "dim" if not number else ""
        above = cell_len(name) > first
        if above:
            console.print(Text(name, style, overflow="fold"))
        line = f"{_pad('' if above else name, first)}  {rest}"
        beside = cell_len(line) + 2 + cell_len(origin) <= console.width
        console.print(
            Text((f"{line}  {origin}" if beside else line).rstrip(), style, overflow="fold")
        )
        if not beside:
            _print(origin, indent=2)
        if below:
            _print(below, indent=2)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _print(text: str, *, indent: int = 0) -> None:
    console = _console()
    for line in Text(one_line(text, 5000)).wrap(console, console.width - indent, overflow="fold"):
        console.print(Text(" " * indent + line.plain.rstrip()))


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
