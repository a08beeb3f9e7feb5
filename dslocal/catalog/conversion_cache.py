"""Checkpoints that are converted when they are first used, and where their GGUF files are kept.

A checkpoint is converted once, into the cache. Processes that want the same one at the same time
wait for each other. The name of a file says which state of the checkpoint it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import catalog, home
from dslocal.errors import DslocalError
from dslocal.files import is_file, stat_fingerprint
from dslocal.gguf.parts import model_stem

from .locations import PublishedLocation
from .resolve import LocalCheckpoint, resolve_model, shipped_entry

if TYPE_CHECKING:
    from dslocal.convert import ProgressCallback

FORMAT = 2  # raised when the converter's output changes, so that older cached files are made again
FINGERPRINT_DIGITS = 12

_CONVERTED = re.compile(
    r"(?P<name>.+)-(?P<quant>[A-Za-z0-9_]+)-[0-9a-f]{12}\.gguf", re.DOTALL
)  # as _convert() calls them


@dataclass(frozen=True)
class CachedConversion:
    """A checkpoint's GGUF file in the cache, which is made again when it is needed."""

    name: str
    quant: str
    path: Path
    nbytes: int


def ensure_gguf(
    model: str | None,
    *,
    on_progress: ProgressCallback | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Path:
    """Return the GGUF file of ``model``, converted first when that has not been done yet.

    Args:
        model: See :func:`resolve_model`.
        on_progress: Receives how far the conversion has come.
        on_notice: Receives what the user should know of the conversion.

    Raises:
        DslocalError: The model does not exist, or it cannot be converted.
    """
    found = resolve_model(model)
    return found if isinstance(found, Path) else _convert(found, on_progress, on_notice)


def cached_conversions() -> list[CachedConversion]:
    """Return what :func:`ensure_gguf` has put into the cache, by name."""
    found = []
    for file in sorted(_cache().glob("*.gguf")):
        match = _CONVERTED.fullmatch(file.name)
        if match and file.is_file():
            size = file.stat().st_size
            found.append(CachedConversion(match["name"], match["quant"], file, size))
    return found


def display_name(path: Path) -> str:
    """Return what the model in a file is called: its name here, else that of its file.

    The name in its header may be that of many files, each in another quantization.
    """
    if path.parent == _cache():
        match = _CONVERTED.fullmatch(path.name)
        if match is not None:
            return match["name"]
    for installed in catalog.installed_models():
        if installed.path == path:
            return installed.full_name
    return model_stem(path.name)


def file_label(path: Path) -> str:
    """Return what tells a file from others of the same model: its name with the quantization."""
    match = _CONVERTED.fullmatch(path.name) if path.parent == _cache() else None
    return f"{match['name']}-{match['quant']}" if match else model_stem(path.name)


def _remove_outdated(checkpoint: LocalCheckpoint, current: Path) -> None:
    """Delete what other versions of a checkpoint that ships were converted to.

    This installation cannot use it: its name holds the state of the checkpoint it was made from.
    """
    for other in cached_conversions():
        is_same_model = (other.name, other.quant) == (checkpoint.name, checkpoint.quant)
        if is_same_model and other.path != current:
            with suppress(OSError):
                other.path.unlink()
                other.path.with_name(f".{other.path.name}.lock").unlink(missing_ok=True)


def _cache() -> Path:
    return home.cache_dir() / "converted"


def _convert(
    checkpoint: LocalCheckpoint,
    on_progress: ProgressCallback | None,
    on_notice: Callable[[str], None] | None,
) -> Path:
    out = _converted_file(checkpoint)
    folder = out.parent
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
            recipe = converter.recipe_named(checkpoint.quant)
            plan = converter.plan_conversion(converter.open_checkpoint(source), [recipe])
            if on_notice is not None:
                for warning in plan.warnings:
                    on_notice(warning)
            converter.write_gguf(plan, [out], on_progress=on_progress)
            shipped = shipped_entry(checkpoint.name)
            if shipped is not None and shipped.local == checkpoint.folder:
                _remove_outdated(checkpoint, out)
    return out


def known_gguf(found: LocalCheckpoint | PublishedLocation, quants: Sequence[str]) -> Path | None:
    """Return the GGUF of a checkpoint that is on this machine in one of ``quants``, if one is."""
    if isinstance(found, LocalCheckpoint):
        converted = _converted_file(found)
        return converted if found.quant in quants and converted.exists() else None
    for quant in quants:
        installed = catalog.find_installed(found.name, quant)
        if installed is not None and not installed.missing:
            return installed.path
    return None


def _converted_file(checkpoint: LocalCheckpoint) -> Path:
    """Return where a checkpoint's conversion is in the cache, once it has been made."""
    return _cache() / f"{checkpoint.name}-{checkpoint.quant}-{_fingerprint(checkpoint)}.gguf"


def _fingerprint(checkpoint: LocalCheckpoint) -> str:
    """Return what changes when any file of the checkpoint does; no weight is read."""
    files = sorted(checkpoint.folder.iterdir())
    suffixes = (".json", ".safetensors", ".jinja")
    parts = [file for file in files if file.suffix in suffixes and is_file(file)]
    return stat_fingerprint(parts, f"{FORMAT}\0{checkpoint.quant}")[:FINGERPRINT_DIGITS]
