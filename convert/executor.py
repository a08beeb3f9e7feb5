"""Carrying out a plan: one pass over the shards, all cores, every unit written where it belongs;
interrupted, it goes on later.
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
from typing import BinaryIO

from dslocal.convert.output.gguf_file import OutputFile, split_metadata
from dslocal.convert.output.journal import FinishedUnits, Journal, JournalEntry
from dslocal.convert.output.layout import file_names
from dslocal.errors import CheckpointError, ConversionError
from dslocal.files import gigabytes, sync_folder

from .conversion_plan import ConversionPlan, WorkUnit
from .quantize import init_quantization
from .worker import Worker

SAVE_EVERY_S = 2.0


@dataclass(frozen=True)
class ConversionProgress:
    """Bytes read of ``total``, weights done in this run, and the tensor that was finished last."""

    done: int
    total: int
    weights: int
    tensor: str


@dataclass(frozen=True)
class ConversionReport:
    """A finished output. ``path`` is the file to open, ``nbytes`` the sum over its files;
    ``resumed``: bytes that were done before.
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
    """Converts ``plan`` into ``outs``, one path for each of its outputs, with ``jobs`` threads (all
    cores by default).

    Until everything is complete and on disk the files are called ``….part``, and a journal lies
    beside them: after any interruption the same call goes on where it was, and the result is the
    same. Raises ConversionError when the disk is too small, fills up, or another process writes the
    same file, and CheckpointError when the source turns out damaged; then nothing is left.
    """
    began = time.perf_counter()
    for kind in {placed.kind for layout in plan.layouts for placed in layout.tensors}:
        init_quantization(kind)
    names = [
        file_names(out, len(output.files)) for out, output in zip(outs, plan.outputs, strict=True)
    ]
    journal = Journal(names[0][0])
    try:
        with ExitStack() as claims:
            files = [claims.enter_context(file) for file in _files(plan, names)]
            try:
                entry = _begin(plan, files, journal)
                run = _Run(plan, files, journal, entry, on_progress)
                run.all(jobs or os.cpu_count() or 1)
            except CheckpointError:
                for file in files:
                    file.discard()
                journal.remove()
                raise
            for file in reversed(files):  # the first of a split is the one that gets opened
                file.finish()
        journal.remove()
        for folder in {out.parent for out in outs}:
            sync_folder(folder)
    except OSError as e:
        raise ConversionError(
            f"{outs[0]}: cannot be written: {e.strerror}",
            hint="mend that and run it again: it goes on where it was",
        ) from e
    weights = sum(tensor.elements for tensor in plan.tensors)
    seconds = time.perf_counter() - began
    counts = [len(paths) for paths in names]
    sizes = [sum(path.stat().st_size for path in paths) for paths in names]
    return [
        ConversionReport(
            paths[0],
            count,
            size,
            len(plan.tensors),
            weights,
            seconds,
            output.recipe.name,
            run.resumed,
        )
        for paths, count, size, output in zip(names, counts, sizes, plan.outputs, strict=True)
    ]


def _files(plan: ConversionPlan, names: Sequence[Sequence[Path]]) -> Iterator[OutputFile]:
    for output, paths in zip(plan.outputs, names, strict=True):
        count = len(paths)
        for number, (path, layout) in enumerate(zip(paths, output.files, strict=True)):
            tied = split_metadata(number, count, len(plan.tensors)) if count > 1 else []
            yield OutputFile(
                path,
                layout,
                plan.architecture.arch,
                [*(output.metadata if number == 0 else ()), *tied],
            )


def _begin(plan: ConversionPlan, files: Sequence[OutputFile], journal: Journal) -> JournalEntry:
    """Goes on with what an earlier run of the same plan left, or starts anew. Raises
    ConversionError when there is no room.
    """
    fingerprint, entry = plan.fingerprint(), journal.read()
    if entry and entry.fingerprint == fingerprint and len(entry.data_starts) == len(files):
        left = [file.resume(start) for file, start in zip(files, entry.data_starts, strict=True)]
        if all(left):
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
    for folder in {file.path.parent for file in files}:
        needed = sum(file.missing for file in files if file.path.parent == folder)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ConversionError(
                f"{folder}: {gigabytes(needed, 3)} are needed, {gigabytes(free, 3)} are free",
                hint="make room, choose a smaller --quant or another -o",
            )


class _Run:
    """One run over the units that are not done yet."""

    def __init__(
        self,
        plan: ConversionPlan,
        files: Sequence[OutputFile],
        journal: Journal,
        entry: JournalEntry,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._plan, self._files, self._journal, self._entry, self._on_progress = (
            plan,
            files,
            journal,
            entry,
            on_progress,
        )
        self._finished = FinishedUnits(entry.done)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._failures: list[BaseException] = []
        self._done, self._weights, self._total = 0, 0, plan.source_bytes
        self._saved = time.monotonic()
        self._first: dict[str, int] = {}  # the number of each shard's first unit
        self.resumed = 0

    def all(self, jobs: int) -> None:
        """Every shard that an earlier run has not finished; each is let go once all that was made
        of it is on disk.
        """
        worker = Worker(self._plan, self._files)
        source = self._plan.checkpoint.source
        pieces = [(scale.file, scale.start, scale.nbytes) for scale in self._plan.scales_elsewhere]
        try:
            for name in source.begin(self._left(), pieces):
                with source.open(name) as shard:
                    self._convert(worker, name, shard, jobs)
                self._save()
                source.release(name)
        except BaseException:
            with suppress(OSError):  # as of a full disk, which may be what stopped it
                self._save()
            raise
        for file in self._files:
            file.sync()

    def _left(self) -> list[str]:
        """The shards with units that are not done. The others' are counted."""
        left, numbers = [], 0
        for name in self._plan.shards:
            self._first[name] = numbers
            numbers += self._plan.count(name)
            if numbers > self._entry.done:
                left.append(name)
            else:
                self.resumed += sum(unit.nbytes for unit in self._plan.units(name))
        self._done = self.resumed
        return left

    def _convert(self, worker: Worker, name: str, shard: BinaryIO, jobs: int) -> None:
        units = self._undone(name)
        threads = [
            threading.Thread(target=self._work, args=(worker, units, shard), daemon=True)
            for _ in range(jobs)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    self._save_at_times()
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join()
            raise
        if self._failures:
            raise self._failures[0]

    def _undone(self, shard: str) -> Iterator[tuple[int, WorkUnit]]:
        """Numbered units of ``shard``; those that an earlier run finished are only counted."""
        for number, unit in enumerate(self._plan.units(shard), self._first.get(shard, 0)):
            if number < self._entry.done:
                self.resumed += unit.nbytes
                self._done += unit.nbytes
            else:
                yield number, unit

    def _work(self, worker: Worker, units: Iterator[tuple[int, WorkUnit]], shard: BinaryIO) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    number, unit = next(units, (0, None))
                if unit is None:
                    return
                worker.convert(unit, shard)
                with self._lock:
                    self._finished.mark(number)
                    self._done += unit.nbytes
                    self._weights += unit.weights
                    if self._on_progress:
                        self._on_progress(
                            ConversionProgress(self._done, self._total, self._weights, unit.name)
                        )
        except BaseException as e:
            self._stop.set()
            self._failures.append(e)

    def _save_at_times(self) -> None:
        if time.monotonic() - self._saved >= SAVE_EVERY_S:
            self._save()
            self._saved = time.monotonic()

    def _save(self) -> None:
        """Notes what is finished, once it is on disk."""
        with self._lock:
            done = self._finished.without_gap
        for file in self._files:
            file.sync()
        self._journal.write(JournalEntry(self._entry.fingerprint, self._entry.data_starts, done))
