"""Checking a finished conversion against its source: every weight read again, dequantized, and
compared.

The relative RMSE of each tensor class is set against what its types can do (RELATIVE_ERROR); one
that is far above it is wrong.
"""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from dslocal.convert.output.layout import file_names
from dslocal.errors import ConversionError
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_names import tensor_class
from dslocal.gguf.tensor_types import GgmlType

from .conversion_plan import ConversionPlan, Destination, WorkUnit
from .executor import ConversionProgress, ProgressCallback
from .quantize import RELATIVE_ERROR, Floats
from .worker import Worker

# times what the type does on Gaussian weights: real ones have outliers, nano's output matrix 1.6
# times
TOLERANCE = 2.0
EXACT = 1e-7


@dataclass(frozen=True)
class TensorClassRmse:
    """One tensor class of one output: measured relative RMSE, and what its types can do."""

    recipe: str
    tensor_class: str
    weights: int
    measured: float
    expected: float

    @property
    def is_within_tolerance(self) -> bool:
        return self.measured <= self.expected * TOLERANCE + EXACT


@dataclass
class _Sums:
    weights: int = 0
    error: float = 0.0
    expected: float = 0.0
    energy: float = 0.0


def verify(
    plan: ConversionPlan,
    outs: Sequence[Path],
    *,
    jobs: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[TensorClassRmse]:
    """Compares ``outs`` with the source. Raises ConversionError when a file's own table is not the
    plan's.
    """
    sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    lock = threading.Lock()
    done = weights = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in _paths(plan, outs)]
        starts = [_data_start(plan, number, Path(file.name)) for number, file in enumerate(files)]
        owners = [output.recipe.name for output in plan.outputs for _ in output.files]
        worker = Worker(plan, ())

        def check(unit: WorkUnit, shard: BinaryIO) -> None:
            nonlocal done, weights
            values = worker.read(unit, shard)
            energy = float(np.square(values, dtype=np.float64).sum())
            found = [
                (target, _squared_error(values, target, files[target.file], starts[target.file]))
                for target in unit.targets
            ]
            with lock:
                for target, error in found:
                    total = sums[owners[target.file], tensor_class(unit.name)]
                    total.weights += values.size
                    total.error += error
                    total.energy += energy
                    total.expected += energy * RELATIVE_ERROR[target.kind] ** 2
                done += unit.nbytes
                weights += unit.weights
                if on_progress:
                    on_progress(ConversionProgress(done, plan.source_bytes, weights, unit.name))

        for name in plan.shards:
            with plan.checkpoint.source.open(name) as shard:
                _in_threads(plan.units(name), shard, check, jobs or os.cpu_count() or 1)
    return [
        TensorClassRmse(
            recipe,
            kind,
            s.weights,
            math.sqrt(s.error / s.energy) if s.energy else 0.0,
            math.sqrt(s.expected / s.energy) if s.energy else 0.0,
        )
        for (recipe, kind), s in sums.items()
    ]


def _squared_error(values: Floats, target: Destination, file: BinaryIO, data_start: int) -> float:
    rows, columns = values.shape
    nbytes = target.kind.nbytes(values.size)
    blocks = np.frombuffer(os.pread(file.fileno(), nbytes, data_start + target.offset), np.uint8)
    if target.kind is GgmlType.F32:
        back = blocks.view(np.float32).reshape(rows, columns)
    else:
        back = dequantize(blocks.reshape(rows, -1), GGMLQuantizationType(int(target.kind))).reshape(
            rows, columns
        )
    return float(np.square(back - values, dtype=np.float64).sum())


def _paths(plan: ConversionPlan, outs: Sequence[Path]) -> Iterator[Path]:
    for out, output in zip(outs, plan.outputs, strict=True):
        yield from file_names(out, len(output.files))


def _data_start(plan: ConversionPlan, number: int, path: Path) -> int:
    header = read_header(path)
    planned = [
        (p.tensor.name, tuple(reversed(p.tensor.shape)), p.kind, p.offset)
        for p in plan.layouts[number].tensors
    ]
    if [(t.name, t.shape, t.type, t.offset) for t in header.tensors] != planned:
        raise ConversionError(f"{path}: holds other tensors than were planned")
    return header.data_start


def _in_threads(
    units: Iterator[WorkUnit],
    shard: BinaryIO,
    check: Callable[[WorkUnit, BinaryIO], None],
    jobs: int,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(jobs) as pool:
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    unit = next(units, None)
                if unit is None:
                    return
                check(unit, shard)

        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
