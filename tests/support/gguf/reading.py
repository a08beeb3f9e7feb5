"""Read GGUF files in tests: every tensor's shape, type and bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dslocal.gguf.header import GgufHeader, read_header

Contents = dict[str, tuple[tuple[int, ...], str, bytes]]


def contents(path: Path) -> tuple[GgufHeader, Contents]:
    """Return the header, and each tensor's shape, type and bytes by its name."""
    header, data = read_header(path), path.read_bytes()
    found = {}
    for tensor in header.tensors:
        start = header.data_start + tensor.offset
        found[tensor.name] = (tensor.shape, tensor.type.name, data[start : start + tensor.nbytes])
    return header, found


def metadata_changes(header: GgufHeader, other: GgufHeader) -> dict[str, Any]:
    """Return what ``other`` says that ``header`` does not, by key.

    None stands for a key that is gone. Of two lists as long as each other, the places that differ
    are keys of a dictionary.
    """
    changes: dict[str, Any] = {}
    for key in header.metadata | other.metadata:
        before, after = header.metadata.get(key), other.metadata.get(key)
        if before == after:
            continue
        changes[key] = after
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            changes[key] = {
                place: value for place, value in enumerate(after) if value != before[place]
            }
    return changes


def layout_digest(header: GgufHeader, *, without: tuple[str, ...] = ()) -> str:
    """Return one hash over the order of tensors, and over the architecture's keys in theirs."""
    names = [t.name for t in header.tensors if not any(part in t.name for part in without)]
    prefix = f"{header.architecture}."
    keys = [(key, value) for key, value in header.metadata.items() if key.startswith(prefix)]
    return hashlib.sha256(repr((header.architecture, names, keys)).encode()).hexdigest()


def digest(tensors: Contents, *, without: tuple[str, ...] = ()) -> str:
    """Return one hash over names, shapes, types and bytes of all tensors whose name holds none of
    ``without``.
    """
    seen = hashlib.sha256()
    for name, (shape, kind, data) in sorted(tensors.items()):
        if not any(part in name for part in without):
            seen.update(f"{name} {shape} {kind}\n".encode() + data)
    return seen.hexdigest()
