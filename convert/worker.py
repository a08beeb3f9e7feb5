"""Do one unit of work: read rows, convert them to float32, and write them in the type of every
output.

Threads share one worker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import CheckpointError, ConversionError
from dslocal.gguf.tensor_types import GgmlType

from .architectures.mapping import Transform
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.safetensors import FP4, FP4_BLOCK, FP8, INTEGERS, SCALED, TensorInfo
from .fp4 import e8m0_values, repack
from .kernels import Bytes, Floats, StoredRows, best_kernels
from .output.gguf_file import OutputFile
from .quantize import DECODED_BY_GGML, MAX_WEIGHT, decode_rows, encode_rows, through
from .recipes.imatrix import Imatrix
from .work_units import WorkUnit

MAX_CACHED_SCALES = 64  # tensors
MAX_E8M0 = 140  # the scale with which 6, the largest FP4 weight, is below quantize.MAX_WEIGHT


class Worker:
    """Reads, converts and writes units of one checkpoint."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        files: Sequence[OutputFile],
        imatrix: Imatrix | None = None,
        jobs: int | None = None,
    ) -> None:
        """Take a checkpoint.

        Args:
            checkpoint: What is read.
            files: The files that are written, in the order in which destinations count them.
            imatrix: The importance matrix, if there is one.
            jobs: How many threads may compute at a time, while others read and write; as many as
                call by default.
        """
        self._checkpoint = checkpoint
        self._imatrix = imatrix
        self._files = files
        self._scales: dict[str, Floats | Bytes] = {}
        self._lock = threading.Lock()
        self._computing: AbstractContextManager[object] = nullcontext()
        if jobs:
            self._computing = threading.Semaphore(jobs)

    def convert(self, unit: WorkUnit, shard: BinaryIO) -> None:
        """Read a unit from its shard, and write it to all its destinations.

        Raises:
            CheckpointError: The data makes no sense.
            ConversionError: It cannot be read.
            OSError: It cannot be written.
        """
        tensor, raw = unit.source, self._read(unit, shard)
        if tensor.dtype in INTEGERS:
            ids = self._expert_ids(tensor, raw).astype("<i4").view(np.uint8)
            for destination in unit.destinations:
                self._files[destination.file].write(destination.offset, ids.data)
            return
        scales = self._scales_of(tensor, shard)
        decoded: dict[GgmlType | None, Floats] = {}
        for file, kind, offset, via in unit.destinations:
            rounding = via if tensor.dtype == FP8 else None
            with self._computing:
                if tensor.dtype == FP4 and kind is GgmlType.MXFP4 and scales is not None:
                    blocks: Bytes | None = self._repack(unit, raw, scales)
                else:
                    blocks = self._convert_stored(unit, raw, scales, kind, rounding)
                if blocks is None:
                    if None not in decoded:
                        decoded[None] = self._decode(unit, raw, scales)
                    if tensor.dtype == kind.name and kind.block > 1:
                        blocks = raw  # of a GGUF, and sane: it was decoded
                if blocks is None:
                    if rounding is not None and rounding not in decoded:
                        decoded[rounding] = through(rounding, decoded[None])
                    rows = decoded[rounding]
                    blocks = encode_rows(kind, rows, self._importance(unit, rows.shape[1]))
            self._files[file].write(offset, blocks.data)

    def read(self, unit: WorkUnit, shard: BinaryIO) -> Floats:
        """Return a unit's rows as they go into the GGUF, not rounded: float32 ``[rows, columns]``.

        Raises:
            CheckpointError: The data makes no sense.
            ConversionError: It cannot be read.
        """
        raw = self._read(unit, shard)
        if unit.source.dtype in INTEGERS:
            return self._expert_ids(unit.source, raw).astype(np.float32)
        return self._decode(unit, raw, self._scales_of(unit.source, shard))

    def _read(self, unit: WorkUnit, shard: BinaryIO) -> Bytes:
        """Return a unit's bytes. Raises as :func:`read_bytes` does."""
        return read_bytes(shard, unit.source, unit.first_byte, unit.nbytes)

    def _importance(self, unit: WorkUnit, columns: int) -> Floats | None:
        """Return the importance of a unit's columns, or None where it is not known."""
        if self._imatrix is None:
            return None
        entry = self._imatrix.entries.get(unit.name)
        if entry is None:
            return None
        start = unit.slice * columns + unit.column
        return entry[start : start + columns]

    def _convert_stored(
        self,
        unit: WorkUnit,
        raw: Bytes,
        scales: Floats | Bytes | None,
        kind: GgmlType,
        rounding: GgmlType | None,
    ) -> Bytes | None:
        """Return a unit's blocks where a kernel can make them from the stored bytes, else None.

        It is None too where a weight is out of range: decoding with numpy says where.
        """
        kernels = best_kernels()
        is_stored_otherwise = unit.source.dtype in DECODED_BY_GGML
        if kernels is None or is_stored_otherwise or not kernels.supports(kind):
            return None
        stored = StoredRows(
            raw=raw,
            dtype=unit.source.dtype,
            first_row=unit.start,
            rows=unit.stop - unit.start,
            columns=unit.source.columns,
            scales=scales,
            block=self._checkpoint.config.fp8_block if unit.source.dtype == FP8 else (1, FP4_BLOCK),
            transform=unit.transform,
            rounding=rounding,
            limit=MAX_WEIGHT,
        )
        return kernels.convert(kind, stored, self._importance(unit, stored.result_shape[1]))

    def _decode(self, unit: WorkUnit, raw: Bytes, scales: Floats | Bytes | None) -> Floats:
        """Return a unit's rows, transformed: float32 ``[rows, columns]``.

        Raises:
            CheckpointError: A value makes no sense.
        """
        tensor = unit.source
        if len(tensor.shape) < 2:
            tensor = tensor._replace(shape=(1, tensor.shape[0]))
        values = decode_rows(raw, tensor, unit.start, scales, self._checkpoint.config.fp8_block)
        if unit.transform is Transform.TRANSPOSE:
            return np.ascontiguousarray(values.T)
        if unit.transform is Transform.INTERLEAVE:
            return _interleaved(values)
        return values

    def _repack(self, unit: WorkUnit, raw: Bytes, scales: Floats | Bytes) -> Bytes:
        """Return FP4 rows as MXFP4. Raises CheckpointError for what no weight can be."""
        codes = scales[unit.start : unit.stop].view(np.uint8)
        if codes.max(initial=0) > MAX_E8M0:
            self._decode(unit, raw, scales)  # raises the error that says where
        return repack(raw, codes)

    def _expert_ids(self, tensor: TensorInfo, raw: Bytes) -> NDArray[np.int64]:
        """Return rows of V4's table of experts by token id: int64 ``[rows, experts used]``.

        Raises:
            CheckpointError: An id is not that of an expert.
        """
        ids = raw.view("<i8" if tensor.dtype == "I64" else "<i4").astype(np.int64)
        experts = self._checkpoint.config.integer("n_routed_experts")
        wrong = ids[(ids < 0) | (ids >= experts)]
        if wrong.size:
            raise CheckpointError(
                f"has expert {wrong[0]}, of {experts}", file=tensor.file, tensor=tensor.name
            )
        return ids.reshape(-1, tensor.columns)

    def _scales_of(self, tensor: TensorInfo, shard: BinaryIO) -> Floats | Bytes | None:
        """Return the whole tensor's scales, or None where it is neither FP8 nor FP4."""
        if tensor.dtype not in SCALED:
            return None
        with self._lock:
            scales = self._scales.get(tensor.name)
            if scales is None:
                if len(self._scales) >= MAX_CACHED_SCALES:
                    self._scales.clear()
                scales = self._scales[tensor.name] = self._read_scales(tensor, shard)
        return scales

    def _read_scales(self, tensor: TensorInfo, shard: BinaryIO) -> Floats | Bytes:
        """Read scales, which may lie in another shard: float32, or uint8 codes of FP4's."""
        scale = self._checkpoint.scale_of(tensor)
        if scale.file == tensor.file:
            raw = read_bytes(shard, scale, scale.start, scale.nbytes)
        else:
            raw = np.frombuffer(_scale_elsewhere(self._checkpoint, scale), np.uint8)
        if scale.dtype == "F32":
            return raw.view("<f4").reshape(scale.shape)
        codes = raw.reshape(scale.shape)
        return codes if tensor.dtype == FP4 else e8m0_values(codes)


def _interleaved(values: Floats) -> Floats:
    """Return the rows of one head with its two halves interleaved: 0, n/2, 1, n/2 + 1, …"""
    rows, columns = values.shape
    halves = values.reshape(2, rows // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(0, 1)).reshape(rows, columns)


def _scale_elsewhere(checkpoint: Checkpoint, scale: TensorInfo) -> bytes:
    """Return the block scales of a weight that lies in another shard. Raises CheckpointError."""
    raw = checkpoint.source.read(scale.file, scale.start, scale.nbytes)
    if len(raw) < scale.nbytes:
        raise _ended(scale)
    return raw


def read_bytes(shard: BinaryIO, tensor: TensorInfo, start: int, nbytes: int) -> Bytes:
    """Return bytes of a shard. Safe from several threads.

    Args:
        shard: The open shard.
        tensor: The tensor that they are of, for messages.
        start: The first byte, counted from the beginning of the shard.
        nbytes: How many.

    Returns:
        uint8 ``[nbytes]``.

    Raises:
        CheckpointError: The shard ends before.
        ConversionError: It cannot be read.
    """
    raw = np.empty(nbytes, np.uint8)
    view = raw.data
    try:
        while view:
            count = os.preadv(shard.fileno(), [view], start)
            if count == 0:
                raise _ended(tensor)
            view, start = view[count:], start + count
    except OSError as e:
        raise ConversionError(f"{tensor.file}: {tensor.name}: cannot be read: {e.strerror}") from e
    return raw


def _ended(tensor: TensorInfo) -> CheckpointError:
    return CheckpointError(
        "became shorter while it was read: the file was changed",
        file=tensor.file,
        tensor=tensor.name,
    )
