"""Save the KV cache of a conversation, and restore it into the very model that made it.

What is restored must be what was evaluated. A note at the end of the file ties it to the model by a
fingerprint of the GGUF, to the cache by its type, and to its own bytes by a hash. llama.cpp checks
shapes alone, and would take wrong values of the right shape.

A file holds llama.cpp's own state of a sequence, which begins with the token ids; the newest
checkpoints of a cache that cannot be cut, so that the reasoning of the last answer can be removed
after a restart, too; the note as JSON; and the note's length with a magic number.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dslocal.files import parse_json_object, sync_folder
from dslocal.gguf import libraries
from dslocal.gguf.header import fingerprint
from dslocal.plan.memory.checkpoints import MIN_CHECKPOINTS

from .sequence_memory import StateCheckpoint

if TYPE_CHECKING:
    from dslocal.engine.context import LlamaContext

FORMAT = 2
MAX_NOTE = 1 << 20  # bytes
TOKEN_BYTES = 4  # of a llama_token in the file
END = struct.Struct("<I8s")  # the note's length and MAGIC
MAGIC = b"dslockv\0"
IDS_OFFSET = 12  # llama.h: LLAMA_STATE_SEQ_MAGIC, the version and the number of tokens come first
READ_BYTES = 1 << 20  # of a file at a time

Identity = dict[str, object]


@dataclass(frozen=True)
class CheckedState:
    """A state on disk whose bytes are those that were written.

    Attributes:
        path: The file.
        tokens: How many tokens it holds.
        checkpoints: The length and the bytes of each checkpoint that follows.
        end: The offset behind the last checkpoint.
    """

    path: Path
    tokens: int
    checkpoints: tuple[tuple[int, int], ...]
    end: int


class UnsealedState:
    """A state in a file of its own that is not yet at its place. Seal or discard it.

    The file is locked meanwhile, so that nobody takes it for a leftover.
    """

    def __init__(self, path: Path, beside: Path, note: dict[str, object]) -> None:
        """Open ``beside``, which is to become ``path``. Nobody else may read a conversation.

        Raises:
            OSError: It cannot be made.
        """
        self.path = path
        self.beside = beside
        self.note = note
        flags = os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_NOFOLLOW
        self._fd = os.open(beside, flags, 0o600)  # llama.cpp keeps the mode of a file that exists
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def seal(self) -> int:
        """Make the file durable, and move it to its place.

        Returns:
            Its bytes.

        Raises:
            OSError: It cannot be written. It is discarded then.
        """
        try:
            note = json.dumps({**self.note, "sha256": _sha256(self._fd, _size(self._fd))}).encode()
            with os.fdopen(os.dup(self._fd), "ab") as file:
                file.write(note + END.pack(len(note), MAGIC))
                file.flush()
                os.fsync(file.fileno())
            nbytes = _size(self._fd)
            self.beside.replace(self.path)
        except OSError:
            self.discard()
            raise
        os.close(self._fd)
        sync_folder(self.path.parent)
        return nbytes

    def discard(self) -> None:
        """Delete what was written."""
        with suppress(OSError):
            self.beside.unlink(missing_ok=True)
        os.close(self._fd)


def state_bytes(context: LlamaContext) -> int:
    """Return how large a file :func:`save_state` would write, without its note."""
    seq_id = context.memory.seq_id
    cache = int(libraries.require().llama_state_seq_get_size(context.handle, seq_id))
    checkpoints = sum(len(state) for _, state in _newest_checkpoints(context))
    return cache + TOKEN_BYTES * len(context.ids) + checkpoints


def state_identity(context: LlamaContext) -> Identity:
    """Return what a state depends on besides the tokens."""
    return {
        "format": FORMAT,
        "model": fingerprint(context.model.path),
        "kv_type": context.kv_type,
        "flash_attn": context.flash_attn,
    }


def save_state(context: LlamaContext, path: Path) -> int:
    """Write what the cache holds to ``path``.

    Returns:
        The bytes of the file; 0 if the cache is empty and nothing was written.

    Raises:
        OSError: if a file cannot be written.
    """
    if not context.ids:
        return 0
    beside = path.with_name(path.name + ".new")
    return write_state(context, state_identity(context), path, beside).seal()


def write_state(
    context: LlamaContext, identity: Identity, path: Path, beside: Path
) -> UnsealedState:
    """Write what the cache holds; it must not be empty. Nothing may be evaluated meanwhile.

    Args:
        context: The context.
        identity: What :func:`state_identity` says of it.
        path: Where the state belongs.
        beside: Where it is until it is sealed, in the same folder.

    Raises:
        OSError: if a file cannot be written.
    """
    low, ids = libraries.require(), context.ids
    checkpoints = _newest_checkpoints(context)
    note = {
        **identity,
        "tokens": len(ids),
        "checkpoints": [(length, len(state)) for length, state in checkpoints],
    }
    unsealed = UnsealedState(path, beside, note)
    try:
        tokens = (low.llama_token * len(ids))(*ids)
        written = low.llama_state_seq_save_file(
            context.handle, os.fsencode(beside), context.memory.seq_id, tokens, len(ids)
        )
        if not written:
            raise OSError(None, "llama.cpp could not write its state", str(path))
        with beside.open("ab") as file:
            for checkpoint in checkpoints:
                file.write(checkpoint.state)
    except OSError:
        unsealed.discard()
        raise
    return unsealed


def restore_state(context: LlamaContext, path: Path) -> int:
    """Fill the cache with what ``path`` holds.

    Returns:
        The number of tokens in the cache. 0 if the file is another model's, damaged, absent or too
        long; the cache may be empty then.
    """
    checked = check_state(path, state_identity(context), context.n_ctx)
    return load_state(context, checked) if checked else 0


def check_state(path: Path, identity: Identity, n_ctx: int) -> CheckedState | None:
    """Return the state at ``path``, if it is one of ``identity`` and not damaged.

    It is read as a whole, which takes a while.
    """
    try:
        note, end = read_note(path)
        found = _described(path, note, end)
        if not is_of(note, identity) or not 0 < found.tokens <= n_ctx:
            return None
        with path.open("rb") as file:
            digest = _sha256(file.fileno(), end)
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return None
    return found if digest == note["sha256"] else None


def load_state(context: LlamaContext, state: CheckedState) -> int:
    """Fill the cache with a state that was checked. Nothing may be evaluated meanwhile.

    Returns:
        The number of tokens in the cache. 0 if the file is gone; the cache is empty then.
    """
    low = libraries.require()
    ids, count = (low.llama_token * state.tokens)(), ctypes.c_size_t()
    context.clear()
    context.memory.clear()
    read = low.llama_state_seq_load_file(
        context.handle,
        os.fsencode(state.path),
        context.memory.seq_id,
        ids,
        state.tokens,
        ctypes.byref(count),
    )
    if not read or count.value != state.tokens:
        context.memory.clear()
        return 0
    context.note_restored(list(ids))
    if context.memory.max_checkpoints:
        with suppress(OSError, ValueError):
            context.memory.checkpoints += _read_checkpoints(state)
    return state.tokens


def remove_state(path: Path) -> None:
    """Delete what :func:`save_state` wrote."""
    path.unlink(missing_ok=True)


def read_note(path: Path) -> tuple[dict[str, Any], int]:
    """Return the note of a state, which is unchecked, and the offset at which it begins.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no state.
    """
    with path.open("rb") as file:
        size = _size(file.fileno())
        if size < END.size:
            raise ValueError("no state")
        length, magic = END.unpack(os.pread(file.fileno(), END.size, size - END.size))
        start = size - END.size - length
        if magic != MAGIC or length > MAX_NOTE or start < 0:
            raise ValueError("no state")
        return parse_json_object(os.pread(file.fileno(), length, start)), start


def read_ids(path: Path, tokens: int) -> NDArray[np.int32]:
    """Return the token ids of a state, which are unchecked: int32 ``[tokens]``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It ends too early.
    """
    with path.open("rb") as file:
        nbytes = TOKEN_BYTES * tokens
        if not 0 < nbytes <= _size(file.fileno()) - IDS_OFFSET:
            raise ValueError("no state")
        return np.frombuffer(os.pread(file.fileno(), nbytes, IDS_OFFSET), "<i4")


def is_of(note: dict[str, Any], identity: Identity) -> bool:
    """Return whether a note belongs to a state of ``identity``."""
    return all(note.get(key) == value for key, value in identity.items())


def _described(path: Path, note: dict[str, Any], end: int) -> CheckedState:
    """Return the state that a note describes. Raises whatever a damaged note causes."""
    sizes = tuple((int(length), int(size)) for length, size in note.get("checkpoints", []))
    lengths = [0, *(length for length, _ in sizes), int(note["tokens"]) + 1]
    is_ascending = all(before < after for before, after in pairwise(lengths))
    all_sizes = [size for _, size in sizes]
    if not is_ascending or min(all_sizes, default=1) <= 0 or sum(all_sizes) > end:
        raise ValueError("no checkpoints of this state")
    return CheckedState(path, int(note["tokens"]), sizes, end)


def _newest_checkpoints(context: LlamaContext) -> list[StateCheckpoint]:
    return context.memory.checkpoints[-MIN_CHECKPOINTS:]


def _read_checkpoints(state: CheckedState) -> list[StateCheckpoint]:
    """Return the checkpoints in a state, whose bytes are those that were written."""
    with state.path.open("rb") as file:
        file.seek(state.end - sum(size for _, size in state.checkpoints))
        return [
            StateCheckpoint(length, (ctypes.c_uint8 * size).from_buffer_copy(file.read(size)))
            for length, size in state.checkpoints
        ]


def _size(fd: int) -> int:
    return os.fstat(fd).st_size


def _sha256(fd: int, length: int) -> str:
    """Return the hash of the first ``length`` bytes of a file."""
    seen = hashlib.sha256()
    for start in range(0, length, READ_BYTES):
        seen.update(os.pread(fd, min(READ_BYTES, length - start), start))
    return seen.hexdigest()
