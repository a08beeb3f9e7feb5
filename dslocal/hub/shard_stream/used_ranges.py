"""Record the pieces of files that were used before their files were verified.

The notes stay on disk until each piece can be compared with its verified file. They are JSON
objects, one a line: a piece with its SHA-256, two pieces that were taken to be equal, or a file
that was compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import threading
from pathlib import Path

from dslocal.errors import CheckpointError, ConversionError
from dslocal.types import FileRange

READ_BYTES = 1 << 20  # at a time


class UsedRanges:
    """The notes in a file. Threads may share them.

    Attributes:
        compared_files: The files that were compared with their notes.
    """

    def __init__(self, path: Path) -> None:
        """Read the notes of earlier runs. Raises ConversionError where they are damaged."""
        self.compared_files: set[str] = set()
        self._hashes: dict[FileRange, str] = {}
        self._equal: set[tuple[FileRange, FileRange]] = set()
        self._lock = threading.Lock()
        try:
            nbytes = self._read_notes(path.read_bytes()) if path.exists() else 0
        except (ValueError, TypeError, LookupError, RecursionError):
            raise ConversionError(
                f"{path}: is damaged", hint=f"to start over: rm -r {shlex.quote(str(path.parent))}"
            ) from None
        self._file = path.open("ab", buffering=0)
        self._file.truncate(nbytes)

    def close(self) -> None:
        """Close the file of the notes."""
        self._file.close()

    def __contains__(self, piece: FileRange) -> bool:
        return piece in self._hashes

    @property
    def equal_pieces(self) -> list[FileRange]:
        """The pieces that were taken to be equal to another."""
        return [piece for pair in self._equal for piece in pair]

    def record(self, piece: FileRange, data: bytes) -> None:
        """Note that ``piece`` is ``data``. Raises CheckpointError when it was something else."""
        self._record(piece, hashlib.sha256(data).hexdigest())

    def matches(self, piece: FileRange, data: bytes) -> bool:
        """Return whether ``piece`` is known to be ``data``."""
        return self._hashes.get(piece) == hashlib.sha256(data).hexdigest()

    def expect_equal(self, one: FileRange, other: FileRange) -> None:
        """Note that the two are taken to be equal."""
        with self._lock:
            if (one, other) not in self._equal:
                self._equal.add((one, other))
                self._append({"equal": [one, other]})

    def sync(self) -> None:
        """Make the notes durable, before anything that was made of these pieces becomes durable."""
        os.fsync(self._file.fileno())

    def verify(self, path: Path) -> None:
        """Compare all notes on a file with the file itself, which has been verified.

        Raises:
            CheckpointError: A piece differs from what was used.
        """
        for piece in list(self._hashes):
            if piece.file == path.name:
                self._record(piece, _hash_of(path, piece))
        for one, other in sorted(self._equal):
            for piece in (one, other):
                if piece.file == path.name:
                    self._record(piece, _hash_of(path, piece))
            self._require_equal(one, other)
        if path.name not in self.compared_files:
            self.compared_files.add(path.name)
            self._append({"seen": path.name})
        self.sync()

    def _require_equal(self, one: FileRange, other: FileRange) -> None:
        """Raise CheckpointError where both pieces are known, and differ."""
        if one not in self._hashes or other not in self._hashes:
            return
        if self._hashes[one] != self._hashes[other]:
            raise CheckpointError(
                f"differs from its copy in {one.file}, though samples of them are equal",
                file=other.file,
                hint="convert it without --stream",
            )

    def _record(self, piece: FileRange, found: str) -> None:
        with self._lock:
            if piece not in self._hashes:
                self._hashes[piece] = found
                self._append({"piece": piece, "sha256": found})
            known = self._hashes[piece]
        if known != found:
            where = f"the {piece.nbytes:,} bytes at {piece.start:,}"
            raise CheckpointError(
                f"{where} differ from what was read before",
                file=piece.file,
                hint="the hub sent damaged data and nothing was kept: repeat the command",
            )

    def _append(self, note: dict[str, object]) -> None:
        self._file.write(json.dumps(note).encode() + b"\n")

    def _read_notes(self, content: bytes) -> int:
        """Take up the notes of earlier runs; return how many bytes of them are whole lines."""
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            note = json.loads(line)
            if "piece" in note:
                self._hashes[_range_of(note["piece"])] = str(note["sha256"])
            elif "equal" in note:
                one, other = note["equal"]
                self._equal.add((_range_of(one), _range_of(other)))
            elif "seen" in note:
                self.compared_files.add(str(note["seen"]))
        return whole


def _range_of(value: object) -> FileRange:
    """Return a piece as it stands in a note. Raises ValueError."""
    match value:
        case [str(file), int(start), int(nbytes)]:
            return FileRange(file, start, nbytes)
    raise ValueError("not a piece of a file")


def _hash_of(path: Path, piece: FileRange) -> str:
    """Return the SHA-256 of a piece in hexadecimal; of one past the end what matches nothing."""
    seen = hashlib.sha256()
    with path.open("rb") as opened:
        at, left = piece.start, piece.nbytes
        while left:
            block = os.pread(opened.fileno(), min(left, READ_BYTES), at)
            if not block:
                return "cut off"
            seen.update(block)
            at, left = at + len(block), left - len(block)
    return seen.hexdigest()
