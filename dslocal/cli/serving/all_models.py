"""The models that ``dslocal serve --all`` serves."""

from __future__ import annotations

from contextlib import suppress

from dslocal.catalog import installed_models, resolve
from dslocal.catalog.conversion_cache import cached_conversions
from dslocal.catalog.inventory import CHECKPOINT
from dslocal.errors import DslocalError


def all_model_names() -> list[str]:
    """Return the names of all models that are ready on this machine, the one used last first.

    A file that has several names has one of them. A checkpoint that would have to be converted is
    not among them, but for the one that ships.
    """
    names = [resolve.last_used_model() or resolve.DEFAULT]
    seen: list[object] = [resolve.resolve_model(names[0])]
    for entry in installed_models():
        if not entry.missing and entry.quant != CHECKPOINT and entry.path not in seen:
            names.append(entry.full_name)
            seen.append(entry.path)
    made = {f"{each.name}:{each.quant}": each.path for each in cached_conversions()}
    for name in (*made, resolve.DEFAULT):
        with suppress(DslocalError):  # of a checkpoint that is gone
            same = [resolve.resolve_model(name), made.get(name)]  # a checkpoint and its conversion
            if not any(each in seen for each in same):
                names.append(name)
            seen += [each for each in same if each is not None]
    return names
