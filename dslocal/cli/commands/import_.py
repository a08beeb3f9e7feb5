"""``dslocal import``: use GGUF files where they are, including those of Ollama and LM Studio."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from dslocal.cli.options import AsJson
from dslocal.errors import DslocalError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.other_programs import ForeignModel

OLLAMA_BLOB = re.compile(r"sha256[-:][0-9a-fA-F]{64}")
LEGACY_MLA = (
    "this file is from before llama.cpp kept MLA's cache compressed, so its context takes many "
    "times the memory; convert or download the model again"
)


class FoundFile(NamedTuple):
    """A GGUF file that may become a model.

    Attributes:
        path: The file.
        name: What it is called where it comes from; may be empty.
        origin: Where it comes from.
    """

    path: Path
    name: str
    origin: str


class CheckedFile(NamedTuple):
    """A GGUF file that can be used.

    Attributes:
        entry: What is kept of it.
        is_legacy_mla: Whether it is from before llama.cpp kept MLA's cache compressed.
    """

    entry: InstalledModel
    is_legacy_mla: bool


def import_(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="A GGUF file, a folder of them, or an Ollama model. [list them]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name the model. [as the file or the other program names it]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Use a GGUF file or a model of Ollama or LM Studio where it is.

    Nothing is copied, changed or deleted.
    """
    if source is None:
        if name is not None:
            raise UsageError("--name needs a file or model", hint="dslocal import FILE --name NAME")
        _print_importable(as_json=as_json)
        return
    from dslocal import catalog

    from .models import installed_json

    checked = [_check(found, name) for found in find_files(source)]
    _require_distinct([file.entry for file in checked])
    for file in checked:
        catalog.add_installed(file.entry, replacing=False)
        if file.is_legacy_mla:
            print(f"dslocal: {file.entry.name}: {LEGACY_MLA}", file=sys.stderr)
    if as_json:
        imported = [
            {**installed_json(file.entry), "old_file": file.is_legacy_mla} for file in checked
        ]
        print(json.dumps({"imported": imported}))
    else:
        _print_imported([file.entry for file in checked])


def find_files(source: str) -> list[FoundFile]:
    """Return the files that ``source`` means: one, or all models in a folder.

    Raises:
        NotFoundError: There is none.
    """
    from dslocal.catalog import other_programs
    from dslocal.files import is_file, is_folder

    path = Path(source)
    with suppress(RuntimeError):  # ~NAME of a user who does not exist
        path = path.expanduser()
    if source and is_folder(path):
        return _files_in(path)
    if is_file(path):
        return [_found_file(path)]
    models = other_programs.match_models(source, other_programs.model_folders())
    if not models:
        raise NotFoundError(
            f"no file, Ollama model or LM Studio model is called {source!r:.200}",
            hint=f"{_published_hint(source)}dslocal import lists them",
        )
    return [_foreign_file(model) for model in models]


def _published_hint(source: str) -> str:
    """Return how to get what ``source`` names where it is published; empty where it is nowhere."""
    from dslocal.catalog.locations import find_published

    found = find_published(source)
    if found is None:
        return ""
    name = found.entry.name if found.entry and not found.file else source
    return f"dslocal pull {name:.200} downloads it; "


def _files_in(folder: Path) -> list[FoundFile]:
    from dslocal.catalog import other_programs

    files = other_programs.gguf_models_in(folder)
    if not files:
        raise _no_models(folder)
    return [_found_file(file) for file in files]


def _no_models(folder: Path) -> NotFoundError:
    """Return the error for a folder without GGUF models, by what is in it instead."""
    import dslocal.convert as converter

    message = f"{folder}: no GGUF model in this folder"
    if (folder / "config.json").is_file():
        named = shlex.quote(str(folder))
        hint = f"it is a checkpoint, which needs no import: dslocal ask -m {named}"
        return NotFoundError(message, hint=hint)
    reason = converter.other_form_error(converter.FolderSource(folder).files())
    if reason is not None:
        return NotFoundError(f"{message}; {reason}", hint=reason.hint)
    return NotFoundError(message, hint="dslocal import lists what it finds")


def _found_file(path: Path) -> FoundFile:
    from dslocal.catalog import other_programs
    from dslocal.gguf.parts import model_stem

    model = other_programs.ollama_model_of(path.absolute())
    if model:
        return _foreign_file(model)
    is_blob = OLLAMA_BLOB.fullmatch(path.name)
    return FoundFile(path, "" if is_blob else model_stem(path.name), str(path.absolute()))


def _foreign_file(model: ForeignModel) -> FoundFile:
    from dslocal.gguf.parts import model_stem

    last = model.name.rsplit("/", 1)[-1]
    if model.app == "Ollama":
        name = last.removesuffix(":latest").replace(":", "-")
    else:
        name = model_stem(last)
    return FoundFile(model.path, name, model.origin)


def _check(found: FoundFile, name: str | None) -> CheckedFile:
    """Return what is kept of a file.

    Args:
        found: The file.
        name: What to call it; None for a name like the file's.

    Raises:
        UsageError: The name cannot be used.
        DslocalError: Whatever is wrong with the file.
    """
    from dslocal import prompts
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.inventory import absolute_path
    from dslocal.catalog.quant_names import quant_of_header
    from dslocal.gguf.architectures import require_known
    from dslocal.gguf.parts import read_parts
    from dslocal.plan.memory.shape import is_legacy_mla

    files, header = read_parts(absolute_path(found.path))
    require_known(header.architecture, files[0].name)
    prompts.recognise_family(header)
    if name is None:
        name = _derive_name(found.name or header.text("general.name"), found.path)
    else:
        name = _check_name(name)
    entry = InstalledModel(
        name=name,
        quant=quant_of_header(header),
        path=files[0],
        files=files,
        nbytes=sum(file.stat().st_size for file in files),
        how="imported",
        origin=found.origin,
        added=time.time(),
    )
    return CheckedFile(entry, is_legacy_mla(header))


def _check_name(name: str) -> str:
    from dslocal.catalog.inventory import model_slug

    if not name or model_slug(name) != name.lower() or name.lower().endswith(".gguf"):
        raise UsageError(
            f"--name: {name!r:.100} is not a valid model name",
            hint="use lower case letters, digits, '.', '_' and '-'",
        )
    return _require_free(name.lower())


def _derive_name(name: str, path: Path) -> str:
    """Return a model's name, without the quantization, which is kept beside it."""
    from dslocal.catalog.inventory import model_slug
    from dslocal.catalog.quant_names import without_quant

    derived = model_slug(without_quant(name)).removesuffix("-gguf")
    if not derived:
        raise UsageError(
            f"{path}: the file does not contain a name", hint="choose a name with --name"
        )
    return _require_free(derived)


def _require_free(name: str) -> str:
    from dslocal import catalog

    entry = catalog.load_registry().get(name)
    if entry and entry.local:
        raise UsageError(
            f"{name} is the name of the model that ships with dslocal",
            hint="choose another name with --name",
        )
    return name


def _require_distinct(entries: Sequence[InstalledModel]) -> None:
    seen: dict[str, InstalledModel] = {}
    for entry in entries:
        other = seen.setdefault(entry.full_name, entry)
        if other is not entry:
            raise UsageError(
                f"{other.path.name} and {entry.path.name} would both be {entry.full_name}",
                hint="import them one by one, with --name",
            )


def _print_imported(entries: Sequence[InstalledModel]) -> None:
    from dslocal import catalog
    from dslocal.terminal.reports import model_list

    names = [installed.name for installed in catalog.installed_models()]
    for entry in entries:
        is_only_one = names.count(entry.name) == 1
        model_list.print_imported(entry, entry.name if is_only_one else entry.full_name)


def _print_importable(*, as_json: bool) -> None:
    """Print what of other programs can be imported, and what cannot, with the reason."""
    from dslocal import catalog
    from dslocal.catalog import other_programs
    from dslocal.files import is_folder
    from dslocal.terminal.reports import model_list

    folders = other_programs.model_folders()
    known = {entry.path: entry.full_name for entry in catalog.installed_models()}
    usable: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for model in other_programs.find_models(folders):
        fields: dict[str, Any] = {
            "app": model.app,
            "name": model.name,
            "path": str(model.path),
        }
        try:
            entry = _check(_foreign_file(model), "any").entry
        except DslocalError as e:
            refused.append({**fields, "why": str(e)})
            continue
        fields |= {
            "quant": entry.quant,
            "bytes": entry.nbytes,
            "imported_as": known.get(entry.path),
        }
        usable.append(fields)
    searched = [
        {
            "app": folder.app,
            "path": str(folder.path),
            "there": is_folder(folder.path),
        }
        for folder in folders
    ]
    if as_json:
        print(json.dumps({"found": usable, "refused": refused, "looked_in": searched}))
    else:
        model_list.print_found(usable, refused, searched)
