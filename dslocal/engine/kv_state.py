"""Save the KV cache of a conversation, and restore it into the very model that made it.

What is restored must be what was evaluated. A note beside the file ties it to the model by a
fingerprint of the GGUF, to the cache by its type, and to its own bytes by a hash. llama.cpp checks
shapes alone, and would take wrong values of the right shape.

Of a cache that cannot be cut the newest checkpoints follow in the same file, so that the reasoning
of the last answer can be taken back after a restart too.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.gguf import libraries
from dslocal.gguf.header import fingerprint
from dslocal.plan.memory.checkpoints import MIN_CHECKPOINTS

from .sequence_memory import StateCheckpoint

if TYPE_CHECKING:
    from .context import LlamaContext

FORMAT = 1
MAX_NOTE = 1 << 20  # bytes
TOKEN_BYTES = 4  # of a llama_token in the file


def state_bytes(context: LlamaContext) -> int:
    """Return how large a file :func:`save_state` would write."""
    cache = int(libraries.require().llama_state_seq_get_size(context.handle, 0))
    checkpoints = sum(len(state) for _, state in _newest_checkpoints(context))
    return cache + TOKEN_BYTES * len(context.ids) + checkpoints


def save_state(context: LlamaContext, path: Path) -> int:
    """Write what the cache holds to ``path``, and a note beside it.

    Returns:
        The bytes of the file; 0 if the cache is empty and nothing was written.

    Raises:
        OSError: if a file cannot be written.
    """
    low, ids = libraries.require(), context.ids
    if not ids:
        return 0
    new_state = path.with_name(path.name + ".new")
    # nobody else may read a conversation; llama.cpp keeps the mode of a file that exists
    os.close(os.open(new_state, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    tokens = (low.llama_token * len(ids))(*ids)
    written = int(
        low.llama_state_seq_save_file(context.handle, os.fsencode(new_state), 0, tokens, len(ids))
    )
    if not written:
        new_state.unlink(missing_ok=True)
        raise OSError(None, "llama.cpp could not write its state", str(path))
    checkpoints = _newest_checkpoints(context)
    with new_state.open("ab") as file:
        for checkpoint in checkpoints:
            written += file.write(checkpoint.state)
    note = {
        **_identity(context),
        "tokens": len(ids),
        "checkpoints": [(length, len(state)) for length, state in checkpoints],
        "bytes": new_state.stat().st_size,
        "sha256": _sha256(new_state),
    }
    note_path = _note_path(path)
    new_note = note_path.with_name(note_path.name + ".new")
    new_note.write_text(json.dumps(note), encoding="utf-8")
    note_path.unlink(missing_ok=True)  # otherwise the old note could be taken for the new state's
    new_state.replace(path)
    new_note.replace(note_path)
    return written


def restore_state(context: LlamaContext, path: Path) -> int:
    """Fill the cache with what ``path`` holds.

    Returns:
        The number of tokens in the cache. 0 if the file is another model's, damaged, absent or too
        long; the cache may be empty then.
    """
    low = libraries.require()
    try:
        tokens = _checked_tokens(context, path)
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return 0
    if tokens == 0:
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
    if context.memory.max_checkpoints:
        with suppress(OSError, ValueError, LookupError, TypeError, OverflowError):
            context.memory.checkpoints += _read_checkpoints(path)
    return tokens


def remove_state(path: Path) -> None:
    """Delete what :func:`save_state` wrote."""
    for file in (_note_path(path), path):
        file.unlink(missing_ok=True)


def _checked_tokens(context: LlamaContext, path: Path) -> int:
    """Return how many tokens the state at ``path`` holds; 0 if it is not for ``context``.

    Raises whatever a damaged note causes.
    """
    if _note_path(path).stat().st_size > MAX_NOTE:
        return 0
    note = json.loads(_note_path(path).read_bytes())
    tokens, nbytes = int(note["tokens"]), int(note["bytes"])
    if any(note.get(key) != value for key, value in _identity(context).items()):
        return 0
    if not 0 < tokens <= context.n_ctx or path.stat().st_size != nbytes:
        return 0
    return tokens if _sha256(path) == note["sha256"] else 0


def _newest_checkpoints(context: LlamaContext) -> list[StateCheckpoint]:
    return context.memory.checkpoints[-MIN_CHECKPOINTS:]


def _read_checkpoints(path: Path) -> list[StateCheckpoint]:
    """Return the checkpoints in the state at ``path``, whose bytes are those that were written.

    Raises whatever a damaged note causes.
    """
    note = json.loads(_note_path(path).read_bytes())
    sizes = [(int(length), int(size)) for length, size in note.get("checkpoints", [])]
    lengths = [0, *(length for length, _ in sizes), note["tokens"] + 1]
    is_ascending = all(before < after for before, after in pairwise(lengths))
    if not is_ascending or any(size <= 0 for _, size in sizes):
        raise ValueError("no checkpoints of this state")
    with path.open("rb") as file:
        file.seek(-sum(size for _, size in sizes), os.SEEK_END)
        return [
            StateCheckpoint(length, (ctypes.c_uint8 * size).from_buffer_copy(file.read(size)))
            for length, size in sizes
        ]


def _identity(context: LlamaContext) -> dict[str, object]:
    """Return what a state depends on besides the tokens."""
    return {
        "format": FORMAT,
        "model": fingerprint(context.model.path),
        "kv_type": context.kv_type,
        "flash_attn": context.flash_attn,
    }


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
