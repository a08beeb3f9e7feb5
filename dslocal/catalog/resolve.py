"""Find the GGUF file or checkpoint that a user's name of a model means.

A name means the same in every folder: it takes precedence over a file or folder of that name, which
one writes as ``./NAME``. There is one exception: if a name is in models.yaml and its model is not
on this machine, a file or folder of that name takes precedence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dslocal import catalog, home
from dslocal.errors import DslocalError, NotFoundError
from dslocal.gguf.parts import first_part

from . import other_programs
from .inventory import absolute_path
from .locations import entry_of_repository
from .names import Spelling, nearest_names, read_spelling, why_not

DEFAULT = "nano"  # the model that ships
LAST = "last-model"  # the state in which the model used last is remembered
FOLDER_QUANT = "Q4_K_M"  # what a checkpoint folder is converted to
CONFIG = "config.json"
MAX_LISTED = 12  # names in a message


@dataclass(frozen=True)
class LocalCheckpoint:
    """A checkpoint folder that a name stands for, and what it is converted to by default."""

    name: str
    folder: Path
    quant: str


def resolve_model(model: str | None) -> Path | LocalCheckpoint:
    """Return what ``model`` means: a GGUF file or a checkpoint.

    In this order: a name whose checkpoint ships, ``NAME`` or ``NAME:QUANT`` of
    :mod:`dslocal.catalog.inventory`, a file or folder, and a name in another program's spelling.
    An installed model whose file is gone is an error, not something else of that name.

    Args:
        model: None means the one used last, else nano.

    Raises:
        NotFoundError: The model is not on this machine.
    """
    name = model or last_used_model() or DEFAULT
    entry = shipped_entry(name)
    if entry is not None:
        return LocalCheckpoint(entry.name, entry.folder, entry.quant)
    installed = catalog.find_installed(name)
    if installed is not None:
        return _resolve_installed(installed)
    path = _existing_path(name)
    if path is not None:
        return _resolve_folder(path) if path.is_dir() else first_part(path)
    return _resolve_spelling(name)


def find_spelled(name: str) -> catalog.InstalledModel | None:
    """Return the model on this machine that ``name`` means in another program's spelling.

    Raises:
        UsageError: It is a page that shows no model.
    """
    origin = f"ollama:{name.removeprefix('ollama:')}".lower()
    for installed in catalog.installed_models():
        if installed.origin.lower().removesuffix(":latest") == origin.removesuffix(":latest"):
            return installed
    spelling = read_spelling(name)
    if spelling is None:
        return None
    if spelling.repository:
        return _installed_from_hub(spelling)
    if name.lower().endswith(".gguf"):
        return None  # a file that is not there is not another one
    found = catalog.find_installed(spelling.name, spelling.quant or None)
    entry = catalog.find_entry(spelling.name)
    if found is not None or entry is None or _is_installed_otherwise(spelling.name):
        return found
    return catalog.find_installed(entry.name, spelling.quant or None)


def _installed_from_hub(spelling: Spelling) -> catalog.InstalledModel | None:
    """Return what was downloaded from a repository, as its quantization or file, last."""
    found = []
    for installed in catalog.installed_models():
        repository = installed.origin.removeprefix("hf:").partition("@")[0]
        is_quant = spelling.quant.lower() in ("", installed.quant.lower())
        file = spelling.file.rpartition("/")[2]
        is_file = not file or file in [path.name for path in installed.files]
        if repository.lower() == spelling.repository.lower() and is_quant and is_file:
            found.append(installed)
    return max(found, key=lambda one: (one.quant != catalog.CHECKPOINT, one.added), default=None)


def _resolve_spelling(name: str) -> Path | LocalCheckpoint:
    """Return what a name in another program's spelling means on this machine.

    Raises:
        NotFoundError: Nothing here; the hint says how to get it, or what is near it.
    """
    installed = find_spelled(name)
    if installed is not None:
        return _resolve_installed(installed)
    spelling = read_spelling(name)
    entry = None
    if spelling is not None and spelling.repository:
        entry = entry_of_repository(spelling.repository)
        if entry is None or spelling.file:
            pulled = name if spelling.file or spelling.quant else f"hf:{spelling.repository}"
            raise NotFoundError(
                f"{spelling.hub_name} is not on this machine",
                hint=f"dslocal pull {pulled:.200} downloads it",
            )
    elif spelling is not None and not _is_installed_otherwise(spelling.name):
        entry = catalog.find_entry(spelling.name)
    if entry is None or spelling is None or name.lower().endswith(".gguf"):
        raise unknown_model(name)
    if entry.local is not None and spelling.quant.lower() in ("", entry.quant.lower()):
        return LocalCheckpoint(entry.name, entry.folder, entry.quant)
    raise _not_here(name, entry, spelling.quant)


def _is_installed_otherwise(name: str) -> bool:
    """Return whether a model of this name is here, but in another quantization."""
    return catalog.find_installed(name) is not None


def _not_here(name: str, entry: catalog.ModelEntry, quant: str) -> NotFoundError:
    """Return the error for a model that is known, and not on this machine.

    Raises:
        UsageError: No quantization is called ``quant``, so that nothing can make it.
    """
    full_name = f"{entry.name}:{quant}" if quant else entry.name
    if entry.local is not None:
        from dslocal.convert import recipe_named

        recipe_named(quant)
        return NotFoundError(
            f"{full_name} is not on this machine: {entry.name} ships as {entry.quant}",
            hint=f"dslocal convert {entry.name} -o FILE.gguf --quant {quant} makes it",
        )
    foreign = other_programs.match_models(name, other_programs.model_folders())
    if foreign:
        hint = f"{foreign[0].app} has it: dslocal import {name} uses that"
    else:
        hint = f"dslocal pull {full_name} downloads it; dslocal fit {entry.name} says what it needs"
    return NotFoundError(f"{full_name} is not on this machine", hint=hint)


def unknown_model(name: str) -> NotFoundError:
    """Return the error for a name that nothing has, with the names that it may be meant as."""
    foreign = other_programs.match_models(name, other_programs.model_folders())
    if foreign:
        hint = f"{foreign[0].app} has it: dslocal import {name:.200} uses that file"
        return NotFoundError(f"{name!r:.200} is not imported yet", hint=hint)
    if reason := why_not(name):
        return NotFoundError(
            f"no model called {name!r:.200} is here: {reason}",
            hint="dslocal fit lists the models that can be downloaded",
        )
    known = catalog.known_names()
    for installed in catalog.installed_models():
        known.setdefault(installed.name, installed.name)
    near = nearest_names(name, known)
    suggested = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFoundError(
        f"no model or file called {name!r:.200}",
        hint=(
            f"{suggested}on this machine: {installed_names()}; name one of these, a GGUF file or a "
            "checkpoint "
            "folder; dslocal fit lists the models that can be downloaded"
        ),
    )


def _resolve_installed(entry: catalog.InstalledModel) -> Path | LocalCheckpoint:
    gone = entry.missing
    if gone is not None:
        raise NotFoundError(
            f"{entry.full_name}: {gone} no longer exists",
            hint=f"dslocal rm {entry.full_name} removes the model",
        )
    if entry.quant == catalog.CHECKPOINT:
        return LocalCheckpoint(entry.name, entry.path.parent, FOLDER_QUANT)
    return entry.path


def _resolve_folder(path: Path) -> LocalCheckpoint:
    if not (path / CONFIG).is_file():
        raise _not_a_checkpoint(path)
    return LocalCheckpoint(path.resolve().name, path, FOLDER_QUANT)


def _not_a_checkpoint(folder: Path) -> DslocalError:
    """Return the error for a folder without config.json, by what is in it instead."""
    import dslocal.convert as converter

    inside = next(iter(sorted(folder.glob(f"*/{CONFIG}")) + _snapshots(folder)), None)
    if inside is not None:
        return NotFoundError(
            f"{folder}: it has no config.json, but a folder in it is a checkpoint",
            hint=f"name that folder: {inside.parent}",
        )
    error = converter.config_error(converter.FolderSource(folder))
    if error.file != CONFIG:
        return error
    return NotFoundError(
        f"{folder}: this folder is not a checkpoint, because it has no config.json",
        hint="a checkpoint has config.json, tokenizer.json and *.safetensors; for a GGUF file, "
        "give the file's own name",
    )


def _snapshots(folder: Path) -> list[Path]:
    """Return the config.json of each snapshot, where ``folder`` is a model in the hub's cache."""
    return sorted(folder.glob(f"snapshots/*/{CONFIG}"))


def _existing_path(name: str) -> Path | None:
    """Return the file or folder that ``name`` is the path of, if there is one.

    Raises NotFoundError where the system refuses to say.
    """
    try:
        path = Path(_path_of_url(name)).expanduser()
        return path if path.is_dir() or path.is_file() else None
    except (OSError, RuntimeError) as e:  # a name too long, no permission, the home of nobody
        raise NotFoundError(f"{name:.80}: {getattr(e, 'strerror', None) or e}") from e


def _path_of_url(name: str) -> str:
    """Return the path in a ``file://`` URL, as file managers copy it; any other name as it is."""
    begin = "file://"
    if not name.lower().startswith(begin):
        return name
    return unquote(name[len(begin) :].removeprefix("localhost"))


def installed_names() -> str:
    """Return the names of what is on this machine, as many as fit into a message."""
    names = [name for name, entry in catalog.load_registry().items() if entry.local]
    names += [entry.full_name for entry in catalog.installed_models() if not entry.missing]
    listed = ", ".join(names[:MAX_LISTED])
    if len(names) > MAX_LISTED:
        return f"{listed} and {len(names) - MAX_LISTED} more, which dslocal models lists"
    return listed


def remember_last_used(model: str) -> None:
    """Make ``model`` the one to use when none is named, where the state can be written."""
    home.write_state(LAST, {"model": lasting_name(model)})


def lasting_name(model: str) -> str:
    """Return a text that means the same model in every folder: a name unchanged, a path as an
    absolute one.

    Links stay: the parts of a split model are found by their names, which a cache's blobs lack.
    """
    if _is_known_name(model):
        return model
    path = Path(model).expanduser()
    if path.exists():
        return str(absolute_path(path))
    installed = find_spelled(model)
    if installed is not None:
        return installed.full_name
    spelling = read_spelling(model)
    entry = catalog.find_entry(spelling.name) if spelling and spelling.name else None
    return entry.name if entry is not None and entry.local is not None else model


def last_used_model() -> str | None:
    """Return the model used last, unless it is gone."""
    name = home.read_state(LAST).get("model")
    if not isinstance(name, str):
        return None
    try:
        return name if _is_known_name(name) or Path(name).exists() else None
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return None


def gone_last_model() -> str | None:
    """Return the model used last if it is gone, so that another one takes its place."""
    name = home.read_state(LAST).get("model")
    return name if isinstance(name, str) and last_used_model() is None else None


def restore_last_used(model: str | None) -> None:
    """Make ``model`` the one used last again, after another one failed; None for no model."""
    if home.read_state(LAST).get("model") != model:
        home.write_state(LAST, {"model": model} if model else {})


def _is_known_name(name: str) -> bool:
    """Return whether ``name`` is a name whose model is on this machine."""
    if shipped_entry(name):
        return True
    found = catalog.find_installed(name)
    return found is not None and not found.missing


def shipped_entry(name: str) -> catalog.ModelEntry | None:
    """Return the model in this package that ``NAME`` or ``NAME:QUANT`` means.

    The quantization can only be the one that it is converted to.
    """
    parts = name.lower().split(":", 1)
    entry = catalog.load_registry().get(parts[0])
    if entry is None or entry.local is None:
        return None
    return entry if parts[1:] in ([], [entry.quant.lower()]) else None
