"""A conversation's KV cache on disk: saved on leaving, restored only into the very model that made
it, else not at all.

What is restored must be what was evaluated: the file is tied to the model by a fingerprint of its
GGUF, to the cache by its type, and to its own bytes by a hash. llama.cpp checks shapes, and would
take wrong values of the right shape.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.gguf import libraries
from dslocal.gguf.header import fingerprint

if TYPE_CHECKING:
    from .context import LlamaContext

FORMAT = 1
MAX_NOTE = 1 << 20  # bytes


def state_bytes(context: LlamaContext) -> int:
    """How large the file will be that :func:`save_state` writes."""
    return int(libraries.require().llama_state_seq_get_size(context.handle, 0)) + 4 * len(
        context.ids
    )


def save_state(context: LlamaContext, path: Path) -> int:
    """Writes what the cache holds to ``path``, with a note beside it, and returns the bytes. Raises
    OSError; 0 is nothing to save.
    """
    low, ids = libraries.require(), context.ids
    if not ids:
        return 0
    new = path.with_name(path.name + ".new")
    os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    tokens = (low.llama_token * len(ids))(*ids)
    written = int(
        low.llama_state_seq_save_file(context.handle, os.fsencode(new), 0, tokens, len(ids))
    )
    if not written:
        new.unlink(missing_ok=True)
        raise OSError(None, "llama.cpp could not write its state", str(path))
    note = {
        **_identity(context),
        "tokens": len(ids),
        "bytes": new.stat().st_size,
        "sha256": _digest(new),
    }
    beside = _note(path).with_name(_note(path).name + ".new")
    beside.write_text(json.dumps(note), encoding="utf-8")
    _note(path).unlink(missing_ok=True)  # or the old note would be taken for the new state's
    new.replace(path)
    beside.replace(_note(path))
    return written


def restore_state(context: LlamaContext, path: Path) -> int:
    """Brings the cache to what ``path`` holds and returns its tokens; 0 where that is not for this
    model, or not whole, or too long.
    """
    low = libraries.require()
    try:
        if _note(path).stat().st_size > MAX_NOTE:
            return 0
        note = json.loads(_note(path).read_bytes())
        tokens, nbytes = int(note["tokens"]), int(note["bytes"])
        same = all(note.get(key) == value for key, value in _identity(context).items())
        if (
            not same
            or not 0 < tokens <= context.n_ctx
            or path.stat().st_size != nbytes
            or _digest(path) != note["sha256"]
        ):
            return 0
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return 0
    ids, count = (low.llama_token * tokens)(), ctypes.c_size_t()
    context.clear()
    read = low.llama_state_seq_load_file(
        context.handle, os.fsencode(path), 0, ids, tokens, ctypes.byref(count)
    )
    if not read or count.value != tokens:
        context.clear()
        return 0
    context.ids += list(ids)
    return tokens


def remove_state(path: Path) -> None:
    """Deletes what :func:`save_state` wrote."""
    for file in (_note(path), path):
        file.unlink(missing_ok=True)


def _identity(context: LlamaContext) -> dict[str, object]:
    """What a state depends on besides the tokens."""
    return {
        "format": FORMAT,
        "model": fingerprint(context.model.path),
        "kv_type": context.kv_type,
        "flash_attn": context.flash_attn,
    }


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
