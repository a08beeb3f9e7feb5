"""Quantization errors of a checkpoint's own weights, measured on a sample of each tensor's rows.

The rows are spread evenly over the tensor. So the sample is the same whenever it is taken, and it
has rows of several experts of a stack. A tensor costs the same whatever its size: rows of
:data:`SAMPLED_WEIGHTS` weights, at least :data:`MIN_ROWS`, in every type.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np

from dslocal.gguf.tensor_types import GgmlType

from .architectures.mapping import MappedTensor, SourceRows, Transform
from .checkpoint.checkpoint import Checkpoint
from .kernels import Floats, init_quantization
from .quantize import encode_rows
from .recipes.imatrix import Imatrix
from .recipes.quantization_errors import ErrorsByType, estimated_errors
from .recipes.recipe import IMATRIX_TYPES
from .recipes.tensor_classes import class_of, norm_before
from .work_units import WorkUnit
from .worker import Worker

SAMPLED_WEIGHTS = 1 << 15  # of a tensor
MIN_ROWS = 8
MAX_TRANSPOSED = 4  # heads that are read whole, because their columns are the rows


class SampledErrors:
    """Measures errors on a checkpoint's own weights.

    Columns count by the importance matrix, where it knows the tensor; else by the gains of the norm
    before it, as far as its class follows them. A tensor that cannot be measured, because it is
    zero or its rows are put together from several sources, gets the estimate.
    """

    def __init__(
        self, checkpoint: Checkpoint, tensors: Iterable[MappedTensor], imatrix: Imatrix | None
    ) -> None:
        """Take a checkpoint.

        Args:
            checkpoint: The checkpoint, whose shards can be opened at once.
            tensors: All tensors of the output: norms are looked up among them.
            imatrix: The importance matrix, if there is one.
        """
        self._checkpoint = checkpoint
        self._imatrix = imatrix
        self._tensors = {tensor.name: tensor for tensor in tensors}

    def of(
        self, tensors: Sequence[MappedTensor], kinds: Iterable[GgmlType]
    ) -> Mapping[str, ErrorsByType]:
        """Return errors, as :class:`QuantizationErrors` says. Works on all cores.

        Raises:
            CheckpointError: A weight makes no sense.
            ConversionError: A shard cannot be read.
        """
        kinds = tuple(kinds)
        for tensor in tensors:
            for kind in estimated_errors(tensor, kinds):
                init_quantization(kind)
        with (
            _SampleReader(self._checkpoint) as reader,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        ):
            errors = pool.map(lambda tensor: self._measure(reader, tensor, kinds), tensors)
            return dict(zip((tensor.name for tensor in tensors), errors, strict=True))

    def _measure(
        self, reader: _SampleReader, tensor: MappedTensor, kinds: Iterable[GgmlType]
    ) -> ErrorsByType:
        """Return the errors of one tensor."""
        errors = estimated_errors(tensor, kinds)
        energy = 0.0
        sums = {kind: 0.0 for kind in errors if kind is not tensor.lossless}
        gains = self._squared_gains(reader, tensor)
        for slice_, rows in reader.samples(tensor):
            weights = self._importance(tensor, slice_)
            if weights is None:
                weights = gains
            energy += _weighted_energy(rows, weights)
            for kind in sums:
                difference = rows - _quantized(kind, rows, weights if self._imatrix else None)
                sums[kind] += _weighted_energy(difference, weights)
        if not energy:
            return errors
        measured = {kind: total / energy for kind, total in sums.items()}
        if tensor.lossless is not None:
            measured[tensor.lossless] = 0.0
        return measured

    def _importance(self, tensor: MappedTensor, slice_: int) -> Floats | None:
        """Return the importance of each column of a slice, or None where it is not known."""
        entry = self._imatrix.entries.get(tensor.name) if self._imatrix else None
        if entry is None or len(entry) != tensor.columns * tensor.slices:
            return None
        start = slice_ * tensor.columns
        return entry[start : start + tensor.columns]

    def _squared_gains(self, reader: _SampleReader, tensor: MappedTensor) -> Floats | None:
        """Return the mean square of each column's input, as the norm before it suggests."""
        norm = self._tensors.get(norm_before(tensor.name))
        if norm is None or norm.columns != tensor.columns or len(norm.sources) != 1:
            return None
        gains = np.abs(reader.read(norm, norm.sources[0], 0)[0])
        squared: Floats = gains ** np.float32(2 * class_of(tensor.name).exponent)
        return squared


def _weighted_energy(values: Floats, weights: Floats | None) -> float:
    """Return the sum of squares, each times the weight of its column."""
    columns = np.square(values, dtype=np.float64).sum(axis=0)
    return float(columns.sum() if weights is None else columns @ weights)


def _quantized(kind: GgmlType, rows: Floats, importance: Floats | None) -> Floats:
    """Return rows as a type holds them."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    if importance is None and kind in IMATRIX_TYPES:  # for which ggml would abort the process
        importance = np.ones(rows.shape[1], np.float32)
    blocks = encode_rows(kind, rows, importance)
    values: Floats = dequantize(blocks, GGMLQuantizationType(int(kind)))
    return values.reshape(rows.shape)


class _SampleReader:
    """Reads rows of a checkpoint here and there. Threads share it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._worker = Worker(checkpoint, ())
        self._shards: dict[str, BinaryIO] = {}
        self._opened = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> _SampleReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def read(self, tensor: MappedTensor, rows: SourceRows, slice_: int) -> Floats:
        """Return source rows as they go into a tensor: float32 ``[rows, columns]``."""
        source = self._checkpoint.tensor(rows.tensor)
        with self._lock:
            shard = self._shards.get(source.file)
            if shard is None:
                shard = self._opened.enter_context(self._checkpoint.source.open(source.file))
                self._shards[source.file] = shard
        unit = WorkUnit(source, rows.start, rows.stop, rows.transform, tensor.name, slice_, 0, ())
        return self._worker.read(unit, shard)

    def samples(self, tensor: MappedTensor) -> Iterator[tuple[int, Floats]]:
        """Yield samples of a tensor, each with the number of the slice that it is of.

        Each has whole rows: float32 ``[rows, columns]``.
        """
        wanted = max(MIN_ROWS, SAMPLED_WEIGHTS // tensor.columns)
        pieces = tensor.sources
        if any(rows.transform is Transform.TRANSPOSE for rows in pieces):
            chosen = _evenly(len(pieces), MAX_TRANSPOSED)
            for number in chosen:
                values = self.read(tensor, pieces[number], 0)
                picked = _evenly(len(values), -(-wanted // len(chosen)))
                yield number, np.ascontiguousarray(values[picked])
            return
        chosen = _evenly(len(pieces), wanted)
        for number in chosen:
            piece = pieces[number]
            if self._checkpoint.tensor(piece.tensor).columns != tensor.columns:
                return  # rows are put together from several sources
            rows = [
                self.read(tensor, SourceRows(piece.tensor, at, at + 1), 0)
                for at in (
                    piece.start + row for row in _evenly(piece.rows, -(-wanted // len(chosen)))
                )
            ]
            yield number if tensor.slices > 1 else 0, np.concatenate(rows)


def _evenly(length: int, count: int) -> list[int]:
    """Return at most ``count`` numbers below ``length``, evenly spread."""
    count = min(length, count)
    return [(2 * number + 1) * length // (2 * count) for number in range(count)]
