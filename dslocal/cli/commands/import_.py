"""``dslocal import``: GGUF files that are here already, Ollama's and LM Studio's among them, used
where they are.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.options import AsJson
from dslocal.errors import DslocalError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.other_programs import ForeignModel
    from dslocal.gguf.header import GgufHeader

GUESSED = 1024  # a bit of general.file_type
OLD = "made before llama.cpp kept MLA's cache compressed: its context takes many times the memory; convert or fetch it anew"


@dataclass(frozen=True)
class Found:
    """A GGUF file that may become a model, what it is called where it comes from, and that place.
    ``called`` may be empty.
    """

    path: Path
    called: str
    origin: str


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
            "--name", help="What to call it. [as the file or model is called]", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Use a GGUF file, an Ollama or an LM Studio model where it is. Nothing is copied, changed or
    deleted.
    """
    if source is None:
        _list(as_json)
        return
    from dslocal import catalog

    from .models import kept_fields

    checked = [_checked(found, name) for found in _meant(source)]
    _require_distinct([entry for entry, _ in checked])
    for entry, old in checked:
        catalog.add_installed(entry, replacing=False)
        if old:
            print(f"dslocal: {entry.name}: {OLD}", file=sys.stderr)
    if as_json:
        print(
            json.dumps(
                {"imported": [{**kept_fields(entry), "old_file": old} for entry, old in checked]}
            )
        )
        return
    from dslocal.terminal.reports import model_list

    for entry, _ in checked:
        alone = sum(other.name == entry.name for other in catalog.installed_models()) == 1
        model_list.print_imported(entry, entry.name if alone else entry.full_name)


def _meant(source: str) -> list[Found]:
    """The files that ``source`` means: one, or all models in a folder. Raises NotFoundError,
    UsageError.
    """
    from dslocal.catalog import other_programs
    from dslocal.files import is_file, is_folder

    path = Path(source)
    with suppress(RuntimeError):  # the home of nobody
        path = path.expanduser()
    if source and is_folder(path):
        if found := other_programs.gguf_models_in(path):
            return [_file(file) for file in found]
        checkpoint = (path / "config.json").is_file()
        hint = (
            f"a checkpoint is used by its folder: dslocal ask -m {path}"
            if checkpoint
            else "dslocal import lists what it finds"
        )
        raise NotFoundError(f"{path}: no GGUF model in this folder", hint=hint)
    if is_file(path):
        return [_file(path)]
    where = other_programs.model_folders()
    if models := other_programs.match_models(source, where):
        return [_foreign(model) for model in models]
    raise NotFoundError(
        f"no file and no model of Ollama's or LM Studio's is called {source!r:.200}",
        hint="dslocal import lists them",
    )


def _file(path: Path) -> Found:
    from dslocal.catalog import other_programs
    from dslocal.gguf.parts import model_stem

    if owner := other_programs.ollama_model_of(path.absolute()):
        return _foreign(owner)
    blob = re.fullmatch(r"sha256[-:][0-9a-fA-F]{64}", path.name)
    return Found(path, "" if blob else model_stem(path.name), str(path.absolute()))


def _foreign(model: ForeignModel) -> Found:
    from dslocal.gguf.parts import model_stem

    last = model.name.rsplit("/", 1)[-1]
    return Found(
        model.path,
        last.removesuffix(":latest").replace(":", "-")
        if model.app == "Ollama"
        else model_stem(last),
        model.origin,
    )


def _checked(found: Found, name: str | None) -> tuple[InstalledModel, bool]:
    """What would be kept of ``found``, and whether it is from before MLA's cache was compressed.
    Raises what is wrong with it.
    """
    from dslocal import prompts
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.inventory import absolute_path
    from dslocal.gguf.parts import read_parts
    from dslocal.plan.memory.shape import is_legacy_mla

    files, header = read_parts(absolute_path(found.path))
    prompts.recognise_family(header)
    nbytes = sum(file.stat().st_size for file in files)
    called = (
        _given(name)
        if name is not None
        else _derived(found.called or header.text("general.name"), found.path)
    )
    return InstalledModel(
        called, _quant(header), files[0], files, nbytes, "imported", found.origin, time.time()
    ), is_legacy_mla(header)


def _given(name: str) -> str:
    from dslocal.catalog.inventory import model_slug

    if not name or model_slug(name) != name.lower() or name.lower().endswith(".gguf"):
        raise UsageError(
            f"--name: {name!r:.100} is no name for a model",
            hint="lower case letters, digits, '.', '_' and '-'",
        )
    return _free(name.lower())


def _derived(called: str, path: Path) -> str:
    """A name out of what something is called elsewhere, without its quantization, which is kept
    beside it.
    """
    from dslocal.catalog.inventory import model_slug
    from dslocal.catalog.quant_names import without_quant

    name = model_slug(without_quant(called)).removesuffix("-gguf")
    if not name:
        raise UsageError(f"{path}: nothing in it says what to call it", hint="--name does")
    return _free(name)


def _free(name: str) -> str:
    from dslocal import catalog

    if (entry := catalog.load_registry().get(name)) and entry.local:
        raise UsageError(
            f"{name} is the model that ships with dslocal",
            hint="--name gives this one another name",
        )
    return name


def _quant(header: GgufHeader) -> str:
    """What the file says its quantization is, else the type of most weights."""
    import dslocal.convert as converter
    from dslocal.gguf.header import main_type

    number = header.integer("general.file_type", -1) & ~GUESSED
    names = {recipe.file_type: recipe.name for recipe in converter.RECIPES.values()}
    return names.get(number) or main_type(header) or "unknown"


def _require_distinct(entries: list[InstalledModel]) -> None:
    seen: dict[str, InstalledModel] = {}
    for entry in entries:
        if other := seen.get(entry.full_name):
            hint = "import them one by one, with --name"
            raise UsageError(
                f"{other.path.name} and {entry.path.name} would both be {entry.full_name}",
                hint=hint,
            )
        seen[entry.full_name] = entry


def _list(as_json: bool) -> None:
    """What of other programs could be imported."""
    from dslocal import catalog
    from dslocal.catalog import other_programs
    from dslocal.files import is_folder

    where = other_programs.model_folders()
    known = {entry.path: entry.full_name for entry in catalog.installed_models()}
    usable: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for model in other_programs.find_models(where):
        fields = {"app": model.app, "name": model.name, "path": str(model.path)}
        try:
            entry, _ = _checked(_foreign(model), "any")
        except DslocalError as e:
            refused.append({**fields, "why": str(e)})
        else:
            usable.append(
                {
                    **fields,
                    "quant": entry.quant,
                    "bytes": entry.nbytes,
                    "imported_as": known.get(entry.path),
                }
            )
    looked = [
        {"app": root.app, "path": str(root.path), "there": is_folder(root.path)} for root in where
    ]
    if as_json:
        print(json.dumps({"found": usable, "refused": refused, "looked_in": looked}))
        return
    from dslocal.terminal.reports import model_list

    model_list.print_found(usable, refused, looked)
