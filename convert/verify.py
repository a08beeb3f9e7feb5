"""Check a finished conversion against its source: read every weight again and compare it.

The relative RMSE of each tensor class is compared with the usual one of its types (RELATIVE_ERROR)
for weights with as many outliers. A class that is far above that is wrong.
"""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from dslocal.errors import ConversionError
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_names import tensor_class
from dslocal.gguf.tensor_types import GgmlType

from .checkpoint.safetensors import FP4, FP8
from .conversion_plan import ConversionPlan
from .executor import ConversionProgress, ProgressCallback
from .kernels import Floats
from .output.layout import FileLayout, file_names
from .quantize import RELATIVE_ERROR
from .work_units import Destination, WorkUnit
from .worker import Worker

TOLERANCE = 2.0  # times what the type does on Gaussian weights with the same outliers
# A type's step follows from the largest weight of a block of 32, whose square is on average this
# multiple of the variance of Gaussian weights. An outlier makes it larger: the error of nano's
# output matrix is 2.1 times that of Gaussian weights.
BLOCK = 32
GAUSSIAN_PEAK = 5.71
EXACT = 1e-7


@dataclass(frozen=True)
class TensorClassRmse:
    """The relative RMSE of one tensor class of one output: measured, and what its types can do."""

    recipe: str
    tensor_class: str
    weights: int
    measured: float
    expected: float

    @property
    def is_within_tolerance(self) -> bool:
        """Return whether the measured error is one that quantization explains."""
        return self.measured <= self.expected * TOLERANCE + EXACT


class _ClassKey(NamedTuple):
    """A tensor class of one output."""

    recipe: str
    tensor_class: str


@dataclass
class _Sums:
    """Sums of squares over the weights of a class: of errors, and of the weights themselves."""

    weights: int = 0
    error: float = 0.0
    expected: float = 0.0
    energy: float = 0.0

    def relative(self, error: float) -> float:
        """Return the root of a sum of squared errors relative to the weights."""
        return math.sqrt(error / self.energy) if self.energy else 0.0


def verify(
    plan: ConversionPlan,
    outs: Sequence[Path],
    *,
    jobs: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[TensorClassRmse]:
    """Compare finished outputs with their source.

    Args:
        plan: What they were made by.
        outs: One path for each of the plan's outputs.
        jobs: How many threads work; as many as there are cores by default.
        on_progress: Is called after every unit of work, from any thread, one call at a time.

    Raises:
        ConversionError: A file's own table is not the plan's.
        GgufError: A file is damaged.
        CheckpointError: The source has changed.
    """
    with ExitStack() as stack:
        paths = list(_paths(plan, outs))
        files = [stack.enter_context(path.open("rb")) for path in paths]
        starts = [
            _data_start(path, layout) for path, layout in zip(paths, plan.layouts, strict=True)
        ]
        verifier = _Verifier(plan, files, starts, on_progress)
        for name in plan.shards:
            with plan.checkpoint.source.open(name) as shard:
                verifier.compare_shard(name, shard, jobs or os.cpu_count() or 1)
    return [
        TensorClassRmse(
            recipe=key.recipe,
            tensor_class=key.tensor_class,
            weights=sums.weights,
            measured=sums.relative(sums.error),
            expected=sums.relative(sums.expected),
        )
        for key, sums in verifier.sums.items()
    ]


class _Verifier:
    """Sums up errors by tensor class."""

    def __init__(
        self,
        plan: ConversionPlan,
        files: Sequence[BinaryIO],
        data_starts: Sequence[int],
        on_progress: ProgressCallback | None,
    ) -> None:
        self.sums: defaultdict[_ClassKey, _Sums] = defaultdict(_Sums)
        self._plan = plan
        self._files = files
        self._data_starts = data_starts
        self._recipes = [output.recipe.name for output in plan.outputs for _ in output.files]
        self._worker = Worker(plan.checkpoint, ())
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._bytes_done = 0
        self._weights_done = 0

    def compare_shard(self, name: str, shard: BinaryIO, jobs: int) -> None:
        """Compare all units of a shard, in threads. Raises what one of them raised."""
        from concurrent.futures import ThreadPoolExecutor

        units = self._plan.units(name)
        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(self._work, units, shard) for _ in range(jobs)]:
                future.result()

    def _work(self, units: Iterator[WorkUnit], shard: BinaryIO) -> None:
        while True:
            with self._lock:
                unit = next(units, None)
            if unit is None:
                return
            self._compare(unit, shard)

    def _compare(self, unit: WorkUnit, shard: BinaryIO) -> None:
        values = self._worker.read(unit, shard)
        energy = float(np.square(values, dtype=np.float64).sum())
        expected = max(energy, _energy_of_outliers(values))
        errors = [self._squared_error(values, d) for d in unit.destinations]
        with self._lock:
            for destination, error in zip(unit.destinations, errors, strict=True):
                key = _ClassKey(self._recipes[destination.file], tensor_class(unit.name))
                sums = self.sums[key]
                sums.weights += values.size
                sums.error += error
                sums.energy += energy
                sums.expected += expected * _expected_error(unit, destination) ** 2
            self._bytes_done += unit.nbytes
            self._weights_done += unit.weights
            if self._on_progress:
                total = self._plan.source_bytes
                self._on_progress(
                    ConversionProgress(self._bytes_done, total, self._weights_done, unit.name)
                )

    def _squared_error(self, values: Floats, destination: Destination) -> float:
        """Return the sum of squared differences of ``values`` ``[rows, columns]`` to the file."""
        rows, columns = values.shape
        kind = destination.kind
        start = self._data_starts[destination.file] + destination.offset
        raw = os.pread(self._files[destination.file].fileno(), kind.nbytes(values.size), start)
        blocks = np.frombuffer(raw, np.uint8)
        if kind is GgmlType.F32:
            written = blocks.view(np.float32)
        elif kind is GgmlType.I32:
            written = blocks.view("<i4").astype(np.float32)
        else:
            written = dequantize(blocks.reshape(rows, -1), GGMLQuantizationType(int(kind)))
        difference = written.reshape(rows, columns) - values
        return float(np.square(difference, dtype=np.float64).sum())


def _energy_of_outliers(values: Floats) -> float:
    """Return the sum of squares of Gaussian weights whose blocks have the peaks of ``values``.

    Args:
        values: float32 ``[rows, columns]``.

    Returns:
        0 if a row's length is not a multiple of the block size: no block type can hold such a row.
    """
    rows, columns = values.shape
    if columns % BLOCK:
        return 0.0
    blocks = values.reshape(rows, -1, BLOCK)
    peaks = np.maximum(blocks.max(axis=-1), -blocks.min(axis=-1))
    return float(np.square(peaks, dtype=np.float64).sum()) * BLOCK / GAUSSIAN_PEAK


def _expected_error(unit: WorkUnit, destination: Destination) -> float:
    """Return the relative error that a destination's types make of a unit's weights."""
    kind, via = destination.kind, destination.via
    if kind is GgmlType.I32 or (unit.source.dtype == FP4 and kind is GgmlType.MXFP4):
        return 0.0
    before = RELATIVE_ERROR[via] if via is not None and unit.source.dtype == FP8 else 0.0
    return math.hypot(RELATIVE_ERROR[kind], before)


def _paths(plan: ConversionPlan, outs: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of all outputs, in the order in which destinations count them."""
    for out, output in zip(outs, plan.outputs, strict=True):
        yield from file_names(out, len(output.files))


def _data_start(path: Path, layout: FileLayout) -> int:
    """Return where a file's weights begin. Raises ConversionError where it is not as planned."""
    header = read_header(path)
    planned = [
        (p.tensor.name, tuple(reversed(p.tensor.shape)), p.kind, p.offset) for p in layout.tensors
    ]
    if [(t.name, t.shape, t.type, t.offset) for t in header.tensors] != planned:
        raise ConversionError(f"{path}: holds other tensors than were planned")
    return header.data_start
