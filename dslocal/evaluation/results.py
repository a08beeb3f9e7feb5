"""The file of an evaluation's results: a header line that says what decides them, then one line a
sample, as they come.

Opened again with the same header it is gone on with, a last line that was cut off by an end in
mid-write dropped.
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

from .examination import Sample

MARK = "dslocal_eval"  # the header's first key; its value is the format
FORMAT = 1

Header = Mapping[str, str | int | float | bool]


class Results:
    """``samples`` are those that are there already, by problem and sample. Use as a context
    manager.
    """

    def __init__(self, path: Path, header: Header, *, restart: bool = False) -> None:
        """Opens ``path``, or makes it. Raises UsageError when it is of another evaluation, unless
        that is to be begun anew.
        """
        self.path = path
        self.samples: dict[tuple[int, int], Sample] = {}
        self._header = {MARK: FORMAT, **header}
        self._file = self._opened()
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
        """Writes ``sample``; once this returns, it is on the disk."""
        self._file.write(_line(asdict(sample)))
        self.samples[sample.problem, sample.sample] = (
            sample  # before the flush: interrupted there, it is written all the same
        )
        self._flush()

    def _opened(self) -> BinaryIO:
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
                f"{self.path}: another dslocal eval is writing it",
                hint="--out FILE writes elsewhere",
            ) from None
        return file

    def _read(self, *, restart: bool) -> None:
        first = self._file.readline()
        begun = json.dumps({MARK: FORMAT})[:-1].encode()
        if not (first.startswith(begun) or (begun.startswith(first) and not first.endswith(b"\n"))):
            raise UsageError(
                f"{self.path}: is no results file of dslocal eval",
                hint="--out FILE writes elsewhere",
            )
        kept = 0
        if first.endswith(b"\n") and not restart:
            self._compare(first)
            kept = len(first)
            for number, line in enumerate(self._file, 2):
                if not line.endswith(b"\n"):
                    break
                sample = self._sample(number, line)
                self.samples.setdefault((sample.problem, sample.sample), sample)
                kept += len(line)
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._file.write(_line(self._header))
            self._flush()

    def _compare(self, line: bytes) -> None:
        try:
            theirs = json.loads(line)
        except ValueError:
            raise self._damaged(1) from None
        ours = json.loads(json.dumps(self._header))
        other = [key for key in (*ours, *theirs) if ours.get(key) != theirs.get(key)]
        if not other:
            return
        said = ", ".join(
            f"{key} {_short(theirs.get(key))}, now {_short(ours.get(key))}"
            for key in dict.fromkeys(other)
        )
        raise UsageError(
            f"{self.path}: is of other settings: {said}",
            hint="--restart begins anew, --out FILE keeps both",
        )

    def _sample(self, number: int, line: bytes) -> Sample:
        try:
            values = json.loads(line)
            sample = Sample(**values)
        except (ValueError, TypeError):
            raise self._damaged(number) from None
        if any(
            not isinstance(getattr(sample, f.name), _KINDS[str(f.type)]) for f in fields(Sample)
        ):
            raise self._damaged(number)
        return sample

    def _damaged(self, line: int) -> DslocalError:
        return DslocalError(f"{self.path}: line {line} is damaged", hint="--restart begins anew")

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
}


def _line(values: Mapping[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 20 else text[:12] + "…"
