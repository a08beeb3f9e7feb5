"""``dslocal models``: what is on this machine, by name, and the disk that it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dslocal.cli.options import AsJson

if TYPE_CHECKING:
    from dslocal.catalog import InstalledModel
    from dslocal.catalog.resolve import CachedConversion


def models(as_json: AsJson = False) -> None:
    """List the models on this machine, where they came from, and the disk that they take."""
    from dslocal import catalog
    from dslocal.catalog import resolve as found_by_name
    from dslocal.catalog.leftovers import find_leftovers

    registry = catalog.load_registry()
    kept, conversions, left = (
        catalog.installed_models(),
        found_by_name.cached_conversions(),
        find_leftovers(),
    )
    shipped = [entry for entry in registry.values() if entry.local]
    here = {entry.name for entry in shipped} | {entry.name for entry in kept}
    fields: dict[str, Any] = {
        "models": [
            *(_shipped(entry.name, entry.quant, entry.folder, conversions) for entry in shipped),
            *map(kept_fields, kept),
        ],
        "cached": [
            _cached(conversion)
            for conversion in conversions
            if conversion.name not in {entry.name for entry in shipped}
        ],
        "leftovers": [{"path": str(one.path), "bytes": one.nbytes} for one in left],
        "disk": _disk(kept, conversions),
        "known": sum(name not in here for name in registry),
    }
    if as_json:
        print(json.dumps(fields))
        return
    from dslocal.terminal.reports import model_list

    model_list.print_models(fields)


def kept_fields(entry: InstalledModel) -> dict[str, Any]:
    """A kept model as ``--json`` says it."""
    return {
        **{
            "name": entry.name,
            "quant": entry.quant,
            "bytes": entry.nbytes,
            "how": entry.how,
            "from": entry.origin,
        },
        **{
            "path": str(entry.path),
            "files": [str(file) for file in entry.files],
            "added": entry.added,
        },
        "missing": str(entry.missing) if entry.missing else None,
    }


def _shipped(
    name: str, quant: str, folder: Path, conversions: Iterable[CachedConversion]
) -> dict[str, Any]:
    return {
        **{
            "name": name,
            "quant": quant,
            "bytes": sum(file.stat().st_size for file in folder.iterdir()),
            "how": "ships",
            "from": str(folder),
        },
        "converted": [_cached(conversion) for conversion in conversions if conversion.name == name],
    }


def _cached(conversion: CachedConversion) -> dict[str, Any]:
    return {
        "name": conversion.name,
        "quant": conversion.quant,
        "path": str(conversion.path),
        "bytes": conversion.nbytes,
    }


def _disk(
    kept: Iterable[InstalledModel], conversions: Iterable[CachedConversion]
) -> dict[str, int]:
    """Bytes by how they came to be; a file with two names counts once."""
    sizes = {
        "converted": {str(conversion.path): conversion.nbytes for conversion in conversions},
        "downloaded": {},
        "imported": {},
    }
    for entry in kept:
        if not entry.missing:
            sizes[entry.how].update({str(file): file.stat().st_size for file in entry.files})
    return {how: sum(files.values()) for how, files in sizes.items()}
