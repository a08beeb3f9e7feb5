"""The progress of a conversion, in a file beside its output.

It is written only after the weights that it vouches for are on disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dslocal.files import write_atomic

SUFFIX = ".journal"


@dataclass(frozen=True)
class JournalEntry:
    """A state to resume from.

    Attributes:
        fingerprint: The plan's.
        data_starts: Where each file's weights begin, in bytes.
        done: Units of work finished, counted from the first without a gap.
    """

    fingerprint: str
    data_starts: tuple[int, ...]
    done: int


class Journal:
    """A small JSON file, replaced as a whole."""

    def __init__(self, out: Path) -> None:
        """Take the name of the output's first file."""
        self._path = out.with_name(out.name + SUFFIX)

    def read(self) -> JournalEntry | None:
        """Return what was written last, or None where nothing is there that makes sense."""
        try:
            match json.loads(self._path.read_bytes()):
                case {"fingerprint": str(fingerprint), "data_starts": [*starts], "done": int(done)}:
                    return JournalEntry(fingerprint, tuple(int(n) for n in starts), done)
        except (OSError, ValueError, TypeError):
            pass
        return None

    def write(self, entry: JournalEntry) -> None:
        """Replace the file, durably. Raises OSError."""
        content = {
            "fingerprint": entry.fingerprint,
            "data_starts": entry.data_starts,
            "done": entry.done,
        }
        write_atomic(self._path, json.dumps(content))

    def remove(self) -> None:
        """Remove the file, if it is there. Raises OSError."""
        self._path.unlink(missing_ok=True)


class FinishedUnits:
    """Counts units that finish out of order. :meth:`mark` is called under the caller's lock."""

    def __init__(self, done: int) -> None:
        """Begin after the first ``done`` units."""
        self.without_gap = done
        self._ahead: set[int] = set()

    def mark(self, number: int) -> None:
        """Note that a unit is finished, by its number from 0."""
        self._ahead.add(number)
        while self.without_gap in self._ahead:
            self._ahead.remove(self.without_gap)
            self.without_gap += 1
