"""One unit of work: rows read, made float32, and written in the type of every output. Threads share
one worker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from dslocal.convert.architectures.mapping import Transform
from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.convert.output.gguf_file import OutputFile
from dslocal.errors import CheckpointError, ConversionError

from .conversion_plan import ConversionPlan, WorkUnit
from .quantize import Bytes, Floats, decode_rows, encode_rows, round_to_bf16

HELD_SCALES = 64


class Worker:
    """Reads, converts and writes units of ``plan`` into ``files``."""

    def __init__(self, plan: ConversionPlan, files: Sequence[OutputFile]) -> None:
        self._checkpoint, self._imatrix, self._files = plan.checkpoint, plan.imatrix, files
        self._scales: dict[str, Floats] = {}
        self._lock = threading.Lock()

    def convert(self, unit: WorkUnit, shard: BinaryIO) -> None:
        """Raises CheckpointError on data that makes no sense, ConversionError when it cannot be
        read.
        """
        values = self.read(unit, shard)
        rounded: Floats | None = None
        for file, kind, offset, round_first in unit.targets:
            source = values
            if round_first and unit.source.dtype == "F8_E4M3":
                if rounded is None:
                    rounded = round_to_bf16(values)
                source = rounded
            importance = (
                self._imatrix.slice_of(unit.name, unit.slice, source.shape[1])
                if self._imatrix
                else None
            )
            self._files[file].write(offset, encode_rows(kind, source, importance).data)

    def read(self, unit: WorkUnit, shard: BinaryIO) -> Floats:
        """float32 ``[rows, columns]`` as they go into the GGUF, not rounded."""
        tensor = unit.source
        raw = read_bytes(shard, tensor, tensor.start + unit.start * unit.row_bytes, unit.nbytes)
        if len(tensor.shape) < 2:
            tensor = tensor._replace(shape=(1, tensor.shape[0]))
        values = decode_rows(
            raw,
            tensor,
            unit.start,
            self._scales_of(tensor, shard),
            self._checkpoint.config.fp8_block,
        )
        if unit.op is Transform.TRANSPOSE:
            return np.ascontiguousarray(values.T)
        if unit.op is Transform.INTERLEAVE:
            rows, columns = values.shape
            return np.ascontiguousarray(
                values.reshape(2, rows // 2, columns).swapaxes(0, 1)
            ).reshape(rows, columns)
        return values

    def _scales_of(self, tensor: TensorInfo, shard: BinaryIO) -> Floats | None:
        """The whole tensor's block scales, or None when it is not FP8. They may lie in another
        shard.
        """
        if tensor.dtype != "F8_E4M3":
            return None
        with self._lock:
            held = self._scales.get(tensor.name)
            if held is None:
                if len(self._scales) >= HELD_SCALES:
                    self._scales.clear()
                held = self._scales[tensor.name] = self._read_scales(tensor, shard)
        return held

    def _read_scales(self, tensor: TensorInfo, shard: BinaryIO) -> Floats:
        scale = self._checkpoint.scale_of(tensor)
        if scale.file == tensor.file:
            raw = read_bytes(shard, scale, scale.start, scale.nbytes)
        else:
            raw = np.frombuffer(scale_elsewhere(self._checkpoint, scale), np.uint8)
        return raw.view("<f4").reshape(scale.shape)


def scale_elsewhere(checkpoint: Checkpoint, scale: TensorInfo) -> bytes:
    """The block scales of a weight that lies in another shard than they do."""
    raw = checkpoint.source.read(scale.file, scale.start, scale.nbytes)
    if len(raw) < scale.nbytes:
        raise CheckpointError(
            "ended while it was read: the file has changed", file=scale.file, tensor=scale.name
        )
    return raw


def read_bytes(shard: BinaryIO, tensor: TensorInfo, start: int, nbytes: int) -> Bytes:
    """``nbytes`` of ``shard`` from ``start``. Safe from several threads."""
    raw = np.empty(nbytes, np.uint8)
    view = raw.data
    try:
        while view:
            got = os.preadv(shard.fileno(), [view], start)
            if got == 0:
                raise CheckpointError(
                    "ended while it was read: the file has changed",
                    file=tensor.file,
                    tensor=tensor.name,
                )
            view, start = view[got:], start + got
    except OSError as e:
        raise ConversionError(f"{tensor.file}: {tensor.name}: cannot be read: {e.strerror}") from e
    return raw
