"""From what a user calls a model to a GGUF file that is there: a name, a GGUF file, or a checkpoint
folder.

A name means the same in every folder: it goes before a file or folder that happens to be called so,
which ``./NAME`` still means. Only a name of models.yaml of which nothing is on this machine comes
after them. A checkpoint is converted once, into the cache, whoever asks first; processes that ask
at the same time wait for each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import catalog, home
from dslocal.errors import DslocalError, NotFoundError
from dslocal.files import stat_fingerprint

if TYPE_CHECKING:
    from dslocal.convert import ProgressCallback

DEFAULT = "nano"
LAST = "last-model"
FOLDER_QUANT = "Q4_K_M"
FORMAT = 1  # raised when the converter's output changes, so that older cached files are made again
MAX_HERE = 12

_CONVERTED = re.compile(
    r"(?P<name>.+)-(?P<quant>[A-Za-z0-9_]+)-[0-9a-f]{12}\.gguf", re.DOTALL
)  # as _converted() calls them


@dataclass(frozen=True)
class LocalCheckpoint:
    """A checkpoint folder that a name stands for, and what it is converted to by default."""

    name: str
    folder: Path
    quant: str


@dataclass(frozen=True)
class CachedConversion:
    """A checkpoint folder's GGUF file in the cache, which is made again when it is needed."""

    name: str
    quant: str
    path: Path
    nbytes: int


def resolve_model(model: str | None) -> Path | LocalCheckpoint:
    """What ``model`` means: a GGUF file or a checkpoint. None means the one used last, else nano.
    Raises NotFoundError.

    In this order: a name whose checkpoint ships, ``NAME`` or ``NAME:QUANT`` of
    :mod:`dslocal.catalog.inventory`, a file or folder, and a name that models.yaml knows, which is not
    here. A kept model whose file is gone is an error, not something else of that name.
    """
    name = model or last_used_model() or DEFAULT
    registry = catalog.load_registry()
    if entry := _shipped(name):
        return LocalCheckpoint(entry.name, entry.folder, entry.quant)
    if found := catalog.find_installed(name):
        if gone := found.missing:
            raise NotFoundError(
                f"{found.full_name}: {gone} is gone",
                hint=f"dslocal rm {found.full_name} forgets it",
            )
        return (
            LocalCheckpoint(found.name, found.path.parent, FOLDER_QUANT)
            if found.quant == catalog.CHECKPOINT
            else found.path
        )
    try:
        path = Path(name).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as e:  # a name too long, no permission, the home of nobody
        raise NotFoundError(f"{name:.80}: {getattr(e, 'strerror', None) or e}") from e
    if is_folder:
        if not (path / "config.json").is_file():
            hint = (
                "one has config.json, tokenizer.json and *.safetensors; a GGUF file is named itself"
            )
            raise NotFoundError(f"{path}: a folder without config.json is no checkpoint", hint=hint)
        return LocalCheckpoint(path.resolve().name, path, FOLDER_QUANT)
    if is_file:
        return path
    if (known := registry.get(name.lower())) and not known.local:
        return LocalCheckpoint(
            known.name, known.folder, known.quant
        )  # which says that it is not here
    hint = f"here: {installed_names()}; or a GGUF file, or a checkpoint folder; dslocal fit lists the models that can be downloaded"
    raise NotFoundError(f"no model or file called {name!r:.200}", hint=hint)


def installed_names() -> str:
    """The names of what is on this machine, so many that they fit into a message."""
    names = [name for name, entry in catalog.load_registry().items() if entry.local]
    names += [entry.full_name for entry in catalog.installed_models() if not entry.missing]
    more = (
        f" and {len(names) - MAX_HERE} more, which dslocal models lists"
        if len(names) > MAX_HERE
        else ""
    )
    return ", ".join(names[:MAX_HERE]) + more


def ensure_gguf(model: str | None, *, on_progress: ProgressCallback | None = None) -> Path:
    """The GGUF file of ``model``, converted first when that has not been done yet. Raises
    DslocalError.
    """
    found = resolve_model(model)
    return found if isinstance(found, Path) else _converted(found, on_progress)


def cached_conversions() -> list[CachedConversion]:
    """What :func:`ensure_gguf` has put into the cache, by name, for checkpoints that ship and for
    folders.
    """
    files = [
        (match, file)
        for file in sorted(_cache().glob("*.gguf"))
        if (match := _CONVERTED.fullmatch(file.name)) and file.is_file()
    ]
    return [
        CachedConversion(match["name"], match["quant"], file, file.stat().st_size)
        for match, file in files
    ]


def remember_last_used(model: str) -> None:
    """Makes ``model`` the one to use when none is named. A home that cannot be written to is no
    reason to fail.
    """
    path = Path(model).expanduser()
    if not _is_here(model) and path.exists():
        model = str(path.resolve())
    home.write_state(LAST, {"model": model})


def last_used_model() -> str | None:
    """The model used last, unless it is gone."""
    name = home.read_state(LAST).get("model")
    try:
        return name if isinstance(name, str) and (_is_here(name) or Path(name).exists()) else None
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return None


def _is_here(name: str) -> bool:
    """Whether ``name`` is a name, and what it means is on this machine."""
    if _shipped(name):
        return True
    found = catalog.find_installed(name)
    return found is not None and not found.missing


def _shipped(name: str) -> catalog.ModelEntry | None:
    """The model of models.yaml that ``name`` means and whose checkpoint is here. ``NAME:QUANT`` is
    what it is converted to.
    """
    plain, colon, quant = name.lower().partition(":")
    entry = catalog.load_registry().get(plain)
    return (
        entry if entry and entry.local and quant == (entry.quant.lower() if colon else "") else None
    )


def _cache() -> Path:
    return home.cache_dir() / "converted"


def _converted(checkpoint: LocalCheckpoint, on_progress: ProgressCallback | None) -> Path:
    folder = _cache()
    out = folder / f"{checkpoint.name}-{checkpoint.quant}-{_fingerprint(checkpoint)}.gguf"
    if out.exists():
        return out
    from filelock import FileLock

    import dslocal.convert as converter

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DslocalError(
            f"{folder}: cannot be made: {e.strerror}", hint="DSLOCAL_HOME moves it"
        ) from e
    with FileLock(out.with_name(f".{out.name}.lock")):
        if not out.exists():
            source = converter.FolderSource(checkpoint.folder)
            plan = converter.plan_conversion(
                converter.open_checkpoint(source), [converter.recipe_named(checkpoint.quant)]
            )
            converter.write_gguf(plan, [out], on_progress=on_progress)
    return out


def _fingerprint(checkpoint: LocalCheckpoint) -> str:
    """Changes when any file of the checkpoint does: names, sizes and times, so that no weight has
    to be read.
    """
    files = sorted(checkpoint.folder.iterdir())
    parts = [file for file in files if file.suffix in (".json", ".safetensors")]
    return stat_fingerprint(parts, f"{FORMAT}\0{checkpoint.quant}")[:12]
