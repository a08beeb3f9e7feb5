"""One unit of work: rows are read, made float32, and written in the type of every output.

Threads share one worker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from dslocal.errors import CheckpointError, ConversionError

from .architectures.mapping import Transform
from .checkpoint.checkpoint import FP8, Checkpoint
from .checkpoint.safetensors import TensorInfo
from .conversion_plan import ConversionPlan
from .kernels import Bytes, Floats
from .output.gguf_file import OutputFile
from .quantize import decode_rows, encode_rows, round_to_bf16
from .work_units import WorkUnit

MAX_CACHED_SCALES = 64  # tensors


class Worker:
    """Reads, converts and writes units of one plan."""

    def __init__(self, plan: ConversionPlan, files: Sequence[OutputFile]) -> None:
        """Take the plan's files, in the order in which destinations count them."""
        self._checkpoint = plan.checkpoint
        self._imatrix = plan.imatrix
        self._files = files
        self._scales: dict[str, Floats] = {}
        self._lock = threading.Lock()

    def convert(self, unit: WorkUnit, shard: BinaryIO) -> None:
        """Read a unit from its shard, and write it to all its destinations.

        Raises:
            CheckpointError: The data makes no sense.
            ConversionError: It cannot be read.
            OSError: It cannot be written.
        """
        values = self.read(unit, shard)
        importance = None
        if self._imatrix:
            importance = self._imatrix.slice_of(unit.name, unit.slice, values.shape[1])
        rounded: Floats | None = None
        for file, kind, offset, is_rounded in unit.destinations:
            source = values
            if is_rounded and unit.source.dtype == FP8:
                if rounded is None:
                    rounded = round_to_bf16(values)
                source = rounded
            self._files[file].write(offset, encode_rows(kind, source, importance).data)

    def read(self, unit: WorkUnit, shard: BinaryIO) -> Floats:
        """Return a unit's rows as they go into the GGUF, not rounded: float32 ``[rows, columns]``.

        Raises:
            CheckpointError: The data makes no sense.
            ConversionError: It cannot be read.
        """
        tensor = unit.source
        raw = read_bytes(shard, tensor, unit.first_byte, unit.nbytes)
        if len(tensor.shape) < 2:
            tensor = tensor._replace(shape=(1, tensor.shape[0]))
        scales = self._scales_of(tensor, shard)
        block = self._checkpoint.config.fp8_block
        values = decode_rows(raw, tensor, unit.start, scales, block)
        if unit.transform is Transform.TRANSPOSE:
            return np.ascontiguousarray(values.T)
        if unit.transform is Transform.INTERLEAVE:
            return _interleaved(values)
        return values

    def _scales_of(self, tensor: TensorInfo, shard: BinaryIO) -> Floats | None:
        """Return the whole tensor's block scales, or None where it is not FP8."""
        if tensor.dtype != FP8:
            return None
        with self._lock:
            scales = self._scales.get(tensor.name)
            if scales is None:
                if len(self._scales) >= MAX_CACHED_SCALES:
                    self._scales.clear()
                scales = self._scales[tensor.name] = self._read_scales(tensor, shard)
        return scales

    def _read_scales(self, tensor: TensorInfo, shard: BinaryIO) -> Floats:
        """Read block scales, which may lie in another shard: float32, as their shape says."""
        scale = self._checkpoint.scale_of(tensor)
        if scale.file == tensor.file:
            raw = read_bytes(shard, scale, scale.start, scale.nbytes)
        else:
            raw = np.frombuffer(_scale_elsewhere(self._checkpoint, scale), np.uint8)
        return raw.view("<f4").reshape(scale.shape)


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
        "ended while it was read: the file has changed", file=tensor.file, tensor=tensor.name
    )
