"""What pieces of files were when they were used before their files were verified, kept on disk
until each can be compared.

One JSON object a line: a piece with its SHA-256, two pieces that were taken to be equal, or a file
that was compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import TypeAlias

from dslocal.errors import CheckpointError, ConversionError

ByteRange: TypeAlias = tuple[str, int, int]  # file, first byte, bytes
BLOCK = 1 << 20


class UsedRanges:
    """The notes in ``path``. Threads may share them."""

    def __init__(self, path: Path) -> None:
        self._known: dict[ByteRange, str] = {}
        self._equal: set[tuple[ByteRange, ByteRange]] = set()
        self.seen: set[str] = set()  # files that were compared
        self._lock = threading.Lock()
        try:
            whole = self._read(path.read_bytes()) if path.exists() else 0
        except ValueError:
            raise ConversionError(
                f"{path}: is damaged", hint=f"to begin anew: rm -r {path.parent}"
            ) from None
        self._file = path.open("ab", buffering=0)
        self._file.truncate(whole)

    def close(self) -> None:
        self._file.close()

    def __contains__(self, piece: ByteRange) -> bool:
        return piece in self._known

    @property
    def compared(self) -> list[ByteRange]:
        """The pieces that were taken to be equal to another."""
        return [piece for pair in self._equal for piece in pair]

    def settle(self, piece: ByteRange, data: bytes) -> None:
        """Notes that ``piece`` is ``data``. Raises CheckpointError when it was something else
        before.
        """
        self._settle(piece, hashlib.sha256(data).hexdigest())

    def agrees(self, piece: ByteRange, data: bytes) -> bool:
        """Whether ``piece`` is known to be ``data``."""
        return self._known.get(piece) == hashlib.sha256(data).hexdigest()

    def expect_equal(self, one: ByteRange, other: ByteRange) -> None:
        """Notes that the two are taken to be equal."""
        with self._lock:
            if (one, other) not in self._equal:
                self._equal.add((one, other))
                self._append({"equal": [one, other]})

    def sync(self) -> None:
        """Makes the notes durable: before anything is, that was made of these pieces."""
        os.fsync(self._file.fileno())

    def check(self, path: Path) -> None:
        """Compares everything that was noted of the file, which is verified, with what it is.
        Raises CheckpointError.
        """
        for piece in [piece for piece in self._known if piece[0] == path.name]:
            self._settle(piece, _digest(path, piece))
        for pair in sorted(self._equal):
            for piece in pair:
                if piece[0] == path.name:
                    self._settle(piece, _digest(path, piece))
            one, other = (self._known.get(piece) for piece in pair)
            if one and other and one != other:
                why = f"differs from its copy in {pair[0][0]}, though samples of them are equal"
                raise CheckpointError(why, file=pair[1][0], hint="convert it without --stream")
        if path.name not in self.seen:
            self.seen.add(path.name)
            self._append({"seen": path.name})
        self.sync()

    def _settle(self, piece: ByteRange, found: str) -> None:
        with self._lock:
            known = self._known.get(piece)
            if known is None:
                self._known[piece] = found
                self._append({"piece": piece, "sha256": found})
        if known not in (None, found):
            raise CheckpointError(
                f"the {piece[2]:,} bytes at {piece[1]:,} are not what was read of them before",
                file=piece[0],
                hint="what the hub sent was damaged: nothing was kept, run it again",
            )

    def _append(self, note: dict[str, object]) -> None:
        self._file.write(json.dumps(note).encode() + b"\n")

    def _read(self, content: bytes) -> int:
        """Takes up the notes of earlier runs; returns how many bytes of them are whole lines."""
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            match json.loads(line):
                case {"piece": [str(file), int(start), int(nbytes)], "sha256": str(found)}:
                    self._known[file, start, nbytes] = found
                case {"seen": str(file)}:
                    self.seen.add(file)
                case {"equal": [[str(a), int(b), int(c)], [str(d), int(e), int(f)]]}:
                    self._equal.add(((a, b, c), (d, e, f)))
        return whole


def _digest(path: Path, piece: ByteRange) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as opened:
        _, start, left = piece
        while left:
            block = os.pread(opened.fileno(), min(left, BLOCK), start)
            if not block:
                return "cut off"
            seen.update(block)
            start, left = start + len(block), left - len(block)
    return seen.hexdigest()
