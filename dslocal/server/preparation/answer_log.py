"""The answers with calls of one model on disk, so that a restart of the server does not lose them.

One file, readable by the user alone, to which every answer is added as a line: a checksum, and
JSON. Lines that are damaged, cut short, too old or of another form are ignored. A file that has
become too large is rewritten with the newest lines.

It is a cache: if an answer cannot be written or read, it is lost, and its prompt is evaluated
again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.files import read_limited, write_atomic

MAX_BYTES = 16 << 20  # of the file
KEPT_BYTES = 8 << 20  # of it that are kept when it is rewritten
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class LoggedAnswer:
    """An answer with calls, as it was sampled.

    Attributes:
        key: The key of its first call.
        meaning: A hash of what it says.
        reasoning: Its reasoning, and ``reasoning_ids`` those that it was written with; None where
            these are not known.
        ids: The ids of its text and calls.
        when: When it was made, in seconds since 1970.
    """

    key: str
    meaning: str
    reasoning: str
    reasoning_ids: array[int] | None
    ids: array[int]
    when: float


class AnswerLog:
    """The file of one model's answers with calls. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Use the file at ``path``, which need not exist."""
        self._path = path

    def read(self, n_vocab: int) -> list[LoggedAnswer]:
        """Return the answers in the file, the oldest first.

        Args:
            n_vocab: Ids are below this number.
        """
        return [answer for line in self._lines() if (answer := _parsed(line, n_vocab)) is not None]

    def add(self, answer: LoggedAnswer) -> None:
        """Add an answer, if that is possible."""
        with suppress(OSError, ValueError):
            line = _line(answer)
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._size() + len(line) > MAX_BYTES:
                self._shorten()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            file = os.open(self._path, flags, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _lines(self) -> list[bytes]:
        try:
            return read_limited(self._path, max_bytes=MAX_BYTES).splitlines(keepends=True)
        except (OSError, ValueError):  # a file that is too large was not written here
            return []

    def _shorten(self) -> None:
        """Rewrite the file with its newest lines."""
        kept: list[bytes] = []
        nbytes = 0
        for line in reversed(self._lines()):
            nbytes += len(line)
            if nbytes > KEPT_BYTES:
                break
            kept.append(line)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        write_atomic(self._path, b"".join(reversed(kept)), beside=beside, is_private=True)


def _line(answer: LoggedAnswer) -> bytes:
    """Return the line of an answer. Raises ValueError for a time that JSON has no number for."""
    reasoning_ids = None if answer.reasoning_ids is None else list(answer.reasoning_ids)
    fields = {
        "key": answer.key,
        "meaning": answer.meaning,
        "reasoning": answer.reasoning,
        "reasoning_ids": reasoning_ids,
        "ids": list(answer.ids),
        "when": answer.when,
    }
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")
    return _digest(text) + b" " + text + b"\n"


def _parsed(line: bytes, n_vocab: int) -> LoggedAnswer | None:
    """Return the answer of a line; None where it is not one."""
    text = line[DIGEST_DIGITS + 1 : -1]
    if line != _digest(text) + b" " + text + b"\n":
        return None
    try:
        fields: dict[str, Any] = json.loads(text)
        reasoning_ids = fields["reasoning_ids"]
        answer = LoggedAnswer(
            key=str(fields["key"]),
            meaning=str(fields["meaning"]),
            reasoning=str(fields["reasoning"]),
            reasoning_ids=None if reasoning_ids is None else array("i", reasoning_ids),
            ids=array("i", fields["ids"]),
            when=float(fields["when"]),
        )
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
    if not math.isfinite(answer.when):  # it would never be too old
        return None
    return answer if all(_are_ids(ids, n_vocab) for ids in _all_ids(answer)) else None


def _all_ids(answer: LoggedAnswer) -> Iterator[Sequence[int]]:
    yield answer.ids
    if answer.reasoning_ids is not None:
        yield answer.reasoning_ids


def _are_ids(ids: Sequence[int], n_vocab: int) -> bool:
    return all(0 <= id < n_vocab for id in ids)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS].encode("ascii")
