"""Rows of a checkpoint as they are stored, described for the kernels.

A kernel decodes a block, scales it, checks it, rounds it and quantizes it before it takes the next:
a weight is in the processor's first cache all the while.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from dslocal.convert.architectures.mapping import Transform
from dslocal.gguf.tensor_types import GgmlType

from .ggml import Bytes, Floats

# The numbers of source.h
_DTYPES = {"F32": 0, "F16": 1, "BF16": 2, "F8_E4M3": 3, "FP4": 4}
_TRANSFORMS = {Transform.COPY: 0, Transform.TRANSPOSE: 1, Transform.INTERLEAVE: 2}
_ROUNDINGS = {None: 0, GgmlType.BF16: 1, GgmlType.Q8_0: 2}
_SCALES = {"none": 0, "float32": 1, "uint8": 2}


class StoredRows(NamedTuple):
    """Consecutive rows of a source tensor, and what they become.

    Attributes:
        raw: Their bytes, uint8.
        dtype: What they are stored in: F32, F16, BF16, F8_E4M3 or FP4.
        first_row: The number of the first of them in its tensor.
        rows: How many there are.
        columns: The weights of each.
        scales: The whole tensor's scales, float32 or uint8 (E8M0 codes) ``[rows of blocks, columns
            of blocks]``, or None.
        block: How many rows and columns share a scale.
        transform: What happens to the rows.
        rounding: What their values are rounded to before they are quantized.
        limit: The greatest magnitude that is accepted.
    """

    raw: Bytes
    dtype: str
    first_row: int
    rows: int
    columns: int
    scales: Floats | Bytes | None = None
    block: tuple[int, int] = (1, 1)
    transform: Transform = Transform.COPY
    rounding: GgmlType | None = None
    limit: float = 0

    @property
    def result_shape(self) -> tuple[int, int]:
        """Return the rows and columns that are quantized."""
        if self.transform is Transform.TRANSPOSE:
            return self.columns, self.rows
        return self.rows, self.columns


class SourceStruct(ctypes.Structure):
    """``struct source`` of source.h."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("first_row", ctypes.c_int64),
        ("row_count", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("scale_columns", ctypes.c_int64),
        ("block_rows", ctypes.c_int64),
        ("block_columns", ctypes.c_int64),
        ("limit", ctypes.c_float),
        ("dtype", ctypes.c_int32),
        ("scale_type", ctypes.c_int32),
        ("transform", ctypes.c_int32),
        ("rounding", ctypes.c_int32),
    )


def source_of(stored: StoredRows) -> SourceStruct:
    """Return stored rows as C takes them. Their arrays must live as long as it is used."""
    scales = stored.scales
    return SourceStruct(
        rows=stored.raw.ctypes.data,
        scales=None if scales is None else scales.ctypes.data,
        first_row=stored.first_row,
        row_count=stored.rows,
        columns=stored.columns,
        scale_columns=0 if scales is None else scales.shape[1],
        block_rows=stored.block[0],
        block_columns=stored.block[1],
        limit=stored.limit,
        dtype=_DTYPES[stored.dtype],
        scale_type=_SCALES["none" if scales is None else str(scales.dtype)],
        transform=_TRANSFORMS[stored.transform],
        rounding=_ROUNDINGS[stored.rounding],
    )
