"""Carry out a plan: one pass over the shards on all cores, which writes every unit at its place.

After an interruption the same call continues where it stopped.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dslocal.errors import CheckpointError, ConversionError
from dslocal.files import decimal_size, sync_folder
from dslocal.types import FileRange

from .conversion_plan import ConversionPlan
from .kernels import init_quantization
from .output.gguf_file import OutputFile, split_metadata
from .output.journal import FinishedUnits, Journal, JournalEntry
from .output.layout import file_names
from .work_units import WorkUnit
from .worker import Worker

SAVE_EVERY_S = 2.0
OVERLAPPING_THREADS = 2  # that read the next units and write the last while others compute
JOIN_S = 0.1  # how long Ctrl-C may go unnoticed


@dataclass(frozen=True)
class ConversionProgress:
    """How far a conversion has come.

    Attributes:
        done: Bytes read, those of earlier runs included.
        total: Bytes to be read.
        weights: Weights converted in this run.
        tensor: The GGUF tensor that was worked on last.
    """

    done: int
    total: int
    weights: int
    tensor: str


@dataclass(frozen=True)
class ConversionReport:
    """A finished output.

    Attributes:
        path: The file to open.
        files: How many files there are.
        nbytes: The bytes of all of them.
        tensors: The number of tensors.
        weights: The number of weights.
        seconds: How long this run took.
        recipe: The recipe's name.
        resumed: Bytes of the source that an earlier run had converted.
    """

    path: Path
    files: int
    nbytes: int
    tensors: int
    weights: int
    seconds: float
    recipe: str
    resumed: int


ProgressCallback = Callable[[ConversionProgress], None]


def write_gguf(
    plan: ConversionPlan,
    outs: Sequence[Path],
    *,
    jobs: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[ConversionReport]:
    """Convert a checkpoint as planned.

    Until everything is complete and on disk the files are called ``….part``, and a journal lies
    beside them: after any interruption the same call continues where it was, and the result is the
    same.

    Args:
        plan: What to do.
        outs: One path for each of the plan's outputs.
        jobs: How many threads compute; as many as there are cores by default.
        on_progress: Is called after every unit of work, from any thread, one call at a time.

    Returns:
        One report for each output.

    Raises:
        ConversionError: The disk is too small or fills up, or another process writes the same file.
        CheckpointError: The source turns out to be damaged; then nothing is left behind.
    """
    began = time.perf_counter()
    for kind in {placed.kind for layout in plan.layouts for placed in layout.tensors}:
        init_quantization(kind)
    names = [
        file_names(out, len(output.files)) for out, output in zip(outs, plan.outputs, strict=True)
    ]
    try:
        resumed = _write_files(plan, names, jobs or os.cpu_count() or 1, on_progress)
    except OSError as e:
        raise ConversionError(
            f"{outs[0]}: cannot be written: {e.strerror}",
            hint="solve that and repeat the command: it continues where it stopped",
        ) from e
    seconds = time.perf_counter() - began
    return [
        ConversionReport(
            path=paths[0],
            files=len(paths),
            nbytes=sum(path.stat().st_size for path in paths),
            tensors=len(output.tensors),
            weights=sum(tensor.elements for tensor in output.tensors),
            seconds=seconds,
            recipe=output.recipe.name,
            resumed=resumed,
        )
        for paths, output in zip(names, plan.outputs, strict=True)
    ]


def _write_files(
    plan: ConversionPlan,
    names: Sequence[Sequence[Path]],
    jobs: int,
    on_progress: ProgressCallback | None,
) -> int:
    """Write all files under their final names.

    Args:
        plan: What to do.
        names: The names of each output's files.
        jobs: How many threads compute.
        on_progress: As of :func:`write_gguf`.

    Returns:
        How many bytes of the source an earlier run had converted.

    Raises:
        CheckpointError: The source is damaged; nothing is left behind.
        ConversionError: The files do not fit on the disk, or another process writes one of them.
        OSError: A file cannot be written.
    """
    journal = Journal(names[0][0])
    with ExitStack() as claims:
        files = [claims.enter_context(file) for file in _output_files(plan, names)]
        try:
            entry = _resume_or_begin(plan, files, journal)
            executor = _Executor(plan, files, journal, entry, jobs, on_progress)
            executor.run()
        except CheckpointError:
            for file in files:
                file.discard()
            journal.remove()
            raise
        for file in reversed(files):  # the first part of a split is the file that gets opened
            file.finish()
    journal.remove()
    for folder in {paths[0].parent for paths in names}:
        sync_folder(folder)
    return executor.resumed


def _output_files(plan: ConversionPlan, names: Sequence[Sequence[Path]]) -> Iterator[OutputFile]:
    """Yield the files of all outputs, in the order in which destinations count them."""
    for output, paths in zip(plan.outputs, names, strict=True):
        count = len(paths)
        for number, (path, layout) in enumerate(zip(paths, output.files, strict=True)):
            metadata = list(output.metadata) if number == 0 else []
            if count > 1:
                metadata += split_metadata(number, count, len(output.tensors))
            yield OutputFile(path, layout, output.architecture.arch, metadata)


def _resume_or_begin(
    plan: ConversionPlan, files: Sequence[OutputFile], journal: Journal
) -> JournalEntry:
    """Take what an earlier run of the same plan left, or begin from the start.

    Returns:
        The state to continue from.

    Raises:
        ConversionError: The files do not fit on the disk.
        OSError: A file cannot be written.
    """
    fingerprint, entry = plan.fingerprint(), journal.read()
    if entry and entry.fingerprint == fingerprint and len(entry.data_starts) == len(files):
        resumable = [file.resume(s) for file, s in zip(files, entry.data_starts, strict=True)]
        if all(resumable):
            _require_room(files)
            return entry
    journal.remove()
    for file in files:
        file.begin()
    try:
        _require_room(files)
    except ConversionError:
        for file in files:
            file.discard()
        raise
    for file in files:
        file.reserve()
    entry = JournalEntry(fingerprint, tuple(file.data_start for file in files), 0)
    journal.write(entry)
    return entry


def _require_room(files: Sequence[OutputFile]) -> None:
    """Raise ConversionError where a folder has no room for what its files still need."""
    for folder in {file.path.parent for file in files}:
        needed = sum(file.missing for file in files if file.path.parent == folder)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ConversionError(
                f"{folder}: {decimal_size(needed)} are needed, {decimal_size(free)} are free",
                hint="free some space, or use another disk, with -o or DSLOCAL_HOME",
            )


class _NumberedUnit(NamedTuple):
    """A unit of work and its number over all shards, by which the journal counts."""

    number: int
    unit: WorkUnit


class _Executor:
    """One run over the units that are not done yet."""

    def __init__(
        self,
        plan: ConversionPlan,
        files: Sequence[OutputFile],
        journal: Journal,
        entry: JournalEntry,
        jobs: int,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._plan = plan
        self._files = files
        self._journal = journal
        self._entry = entry
        self._on_progress = on_progress
        self._worker = Worker(plan.checkpoint, files, plan.imatrix, jobs)
        self._threads = jobs + OVERLAPPING_THREADS
        self._finished = FinishedUnits(entry.done)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._bytes_done = 0
        self._weights_done = 0
        self._saved_at = time.monotonic()
        self._first_unit: dict[str, int] = {}  # the number of each shard's first unit
        self.resumed = 0

    def run(self) -> None:
        """Convert every shard that an earlier run has not finished, in threads.

        Each is released once all that was made of it is on disk.
        """
        source = self._plan.checkpoint.source
        pieces = [FileRange(s.file, s.start, s.nbytes) for s in self._plan.scales_elsewhere]
        try:
            for name in source.begin(self._unfinished_shards(), pieces):
                with source.open(name) as shard:
                    self._convert(name, shard)
                self._save()
                source.release(name)
        except BaseException:
            with suppress(OSError):  # such as of a full disk, which may be what stopped it
                self._save()
            raise
        for file in self._files:
            file.sync()

    def _unfinished_shards(self) -> list[str]:
        """Return the shards with units that are not done, and count what is done of the others."""
        unfinished = []
        number = 0
        for name in self._plan.shards:
            self._first_unit[name] = number
            number += self._plan.count(name)
            if number > self._entry.done:
                unfinished.append(name)
            else:
                self.resumed += sum(unit.nbytes for unit in self._plan.units(name))
        self._bytes_done = self.resumed
        return unfinished

    def _convert(self, name: str, shard: BinaryIO) -> None:
        """Convert one shard's units in threads. Raises what one of them raised."""
        units = self._unfinished_units(name)
        threads = [
            threading.Thread(target=self._work, args=(units, shard), daemon=True)
            for _ in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(JOIN_S)
                    self._save_at_times()
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join()
            raise
        if self._failures:
            raise self._failures[0]

    def _unfinished_units(self, shard: str) -> Iterator[_NumberedUnit]:
        """Yield the units of a shard; those that an earlier run finished are only counted."""
        first = self._first_unit.get(shard, 0)
        for number, unit in enumerate(self._plan.units(shard), first):
            if number < self._entry.done:
                self.resumed += unit.nbytes
                self._bytes_done += unit.nbytes
            else:
                yield _NumberedUnit(number, unit)

    def _work(self, units: Iterator[_NumberedUnit], shard: BinaryIO) -> None:
        """Convert units until there are none left, or another thread failed."""
        try:
            while not self._stop.is_set():
                with self._lock:
                    following = next(units, None)
                if following is None:
                    return
                self._worker.convert(following.unit, shard)
                with self._lock:
                    self._note_finished(following)
        except BaseException as e:
            self._stop.set()
            self._failures.append(e)

    def _note_finished(self, finished: _NumberedUnit) -> None:
        """Count a unit and report progress. The lock must be held."""
        unit = finished.unit
        self._finished.mark(finished.number)
        self._bytes_done += unit.nbytes
        self._weights_done += unit.weights
        if self._on_progress:
            total = self._plan.source_bytes
            self._on_progress(
                ConversionProgress(self._bytes_done, total, self._weights_done, unit.name)
            )

    def _save_at_times(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._save()
            self._saved_at = time.monotonic()

    def _save(self) -> None:
        """Write to the journal what is finished, once it is on disk."""
        with self._lock:
            done = self._finished.without_gap
        for file in self._files:
            file.sync()
        self._journal.write(JournalEntry(self._entry.fingerprint, self._entry.data_starts, done))
