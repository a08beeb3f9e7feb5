"""``dslocal models``: list the models on this machine, and the disk that they take."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dslocal.cli.options import AsJson

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel, ModelEntry
    from dslocal.catalog.conversion_cache import CachedConversion


def models(as_json: AsJson = False) -> None:
    """List the models on this machine, and the disk they take."""
    fields = _fields()
    if as_json:
        print(json.dumps(fields))
        return
    from dslocal.terminal.reports import model_list

    model_list.print_models(fields, _default_model())


def installed_json(entry: InstalledModel) -> dict[str, Any]:
    """Return a model that was pulled or imported as ``--json`` prints it."""
    return {
        "name": entry.name,
        "quant": entry.quant,
        "bytes": entry.nbytes,
        "how": entry.how,
        "from": entry.origin,
        "path": str(entry.path),
        "files": [str(file) for file in entry.files],
        "added": entry.added,
        "missing": str(entry.missing) if entry.missing else None,
    }


def _default_model() -> str:
    """Return the default model as ``NAME:QUANT`` or a path; empty where config.toml is damaged."""
    from dslocal import catalog
    from dslocal.catalog import resolve
    from dslocal.cli.default_model import default_model
    from dslocal.errors import UsageError

    try:
        name = default_model()
    except UsageError:
        return ""
    if entry := resolve.shipped_entry(name):
        return f"{entry.name}:{entry.quant}"
    installed = catalog.find_installed(name)
    return installed.full_name if installed else name


def _fields() -> dict[str, Any]:
    from dslocal import catalog
    from dslocal.catalog.conversion_cache import cached_conversions
    from dslocal.catalog.leftovers import find_kept_logits, find_leftovers

    registry = catalog.load_registry()
    installed = catalog.installed_models()
    conversions = cached_conversions()
    shipped = [entry for entry in registry.values() if entry.local]
    shipped_names = {entry.name for entry in shipped}
    names_here = shipped_names | {entry.name for entry in installed}
    return {
        "models": [
            *(_shipped_json(entry, conversions) for entry in shipped),
            *(installed_json(entry) for entry in installed),
        ],
        "cached": [_conversion_json(c) for c in conversions if c.name not in shipped_names],
        "leftovers": [{"path": str(one.path), "bytes": one.nbytes} for one in find_leftovers()],
        "logits": [{"path": str(one.path), "bytes": one.nbytes} for one in find_kept_logits()],
        "disk": _disk_use(installed, conversions),
        "known": sum(name not in names_here for name in registry),
    }


def _shipped_json(entry: ModelEntry, conversions: Iterable[CachedConversion]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "quant": entry.quant,
        "bytes": sum(file.stat().st_size for file in entry.folder.iterdir()),
        "how": "ships",
        "from": str(entry.folder),
        "converted": [_conversion_json(c) for c in conversions if c.name == entry.name],
    }


def _conversion_json(conversion: CachedConversion) -> dict[str, Any]:
    return {
        "name": conversion.name,
        "quant": conversion.quant,
        "path": str(conversion.path),
        "bytes": conversion.nbytes,
    }


def _disk_use(
    installed: Iterable[InstalledModel], conversions: Iterable[CachedConversion]
) -> dict[str, int]:
    """Return bytes by how they came to be; a file with two names counts once."""
    sizes: dict[str, dict[str, int]] = {
        "converted": {str(conversion.path): conversion.nbytes for conversion in conversions},
        "downloaded": {},
        "imported": {},
    }
    for entry in installed:
        if not entry.missing:
            sizes[entry.how].update({str(file): file.stat().st_size for file in entry.files})
    return {how: sum(files.values()) for how, files in sizes.items()}
