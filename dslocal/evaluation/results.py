"""Keep the results of an evaluation in a file, so that an interrupted run can be resumed.

A header line says what decides the results, then comes one line a sample. A file with the same
header is continued; an incomplete last line is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import BinaryIO

from dslocal.errors import DslocalError, NotFoundError, UsageError

from .samples import Sample

MARK = "dslocal_eval"  # the header's first key; its value is the format
FORMAT = 1
OUT_HINT = "choose another file with --out FILE"

Header = Mapping[str, str | int | float | bool]

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
}


class Results:
    """The results file of one evaluation, locked while it is open. Use as a context manager.

    Attributes:
        path: Where it is.
        samples: The samples that are in it, by the places of problem and sample.
    """

    def __init__(self, path: Path, header: Header, *, restart: bool = False) -> None:
        """Open ``path``, or create it.

        Args:
            path: Where it is.
            header: What decides the results.
            restart: Whether what is in the file is dropped.

        Raises:
            NotFoundError: If its folder does not exist.
            UsageError: If it is not a results file, of other settings, or open elsewhere.
            DslocalError: If it is damaged.
        """
        self.path = path
        self.samples: dict[tuple[int, int], Sample] = {}
        self._header = {MARK: FORMAT, **header}
        self._file = self._open()
        try:
            self._read(restart=restart)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, sample: Sample) -> None:
        """Write ``sample``; once this returns, it is on the disk."""
        self._file.write(_line(asdict(sample)))
        # before the flush: interrupted there, it is written all the same
        self.samples[sample.problem, sample.sample] = sample
        self._flush()

    def _open(self) -> BinaryIO:
        if not self.path.absolute().parent.is_dir():
            raise NotFoundError(f"{self.path.parent}: no such folder")
        if self.path.is_dir():
            raise UsageError(f"{self.path}: is a folder")
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise UsageError(
                f"{self.path}: another dslocal eval is writing it", hint=OUT_HINT
            ) from None
        return file

    def _read(self, *, restart: bool) -> None:
        """Read what is in the file, and leave it where the next sample is written."""
        first = self._file.readline()
        mark = json.dumps({MARK: FORMAT})[:-1].encode()
        is_torn_header = mark.startswith(first) and not first.endswith(b"\n")
        if not first.startswith(mark) and not is_torn_header:
            raise UsageError(f"{self.path}: is not a results file of dslocal eval", hint=OUT_HINT)
        kept = 0
        if first.endswith(b"\n") and not restart:
            self._compare(first)
            kept = len(first) + self._read_samples()
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._file.write(_line(self._header))
            self._flush()

    def _read_samples(self) -> int:
        """Read the samples, and return how many bytes are whole lines."""
        kept = 0
        for number, line in enumerate(self._file, 2):
            if not line.endswith(b"\n"):
                break
            sample = self._sample(number, line)
            self.samples.setdefault((sample.problem, sample.sample), sample)
            kept += len(line)
        return kept

    def _compare(self, line: bytes) -> None:
        """Check that the header of the file is the evaluation's."""
        try:
            theirs = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise self._damaged(1) from None
        ours = json.loads(json.dumps(self._header))
        other = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if not other:
            return
        differences = ", ".join(
            f"{key} {_short(theirs.get(key))}, now {_short(ours.get(key))}" for key in other
        )
        raise UsageError(
            f"{self.path}: was written with other settings: {differences}",
            hint="--restart starts over, --out FILE keeps both",
        )

    def _sample(self, number: int, line: bytes) -> Sample:
        try:
            sample = Sample(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise self._damaged(number) from None
        for field in fields(Sample):
            if not isinstance(getattr(sample, field.name), _KINDS[str(field.type)]):
                raise self._damaged(number)
        return sample

    def _damaged(self, line: int) -> DslocalError:
        return DslocalError(f"{self.path}: line {line} is damaged", hint="--restart starts over")

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _line(values: Mapping[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 20 else text[:12] + "…"
