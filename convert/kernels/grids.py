"""The points of the grids that the IQ2 and IQ3 types are made of.

They are read from ggml by decoding blocks: the numbers that a block stands for are the point that
it holds. So no copy of ggml's tables is kept here.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType


class _Grid(NamedTuple):
    """A grid, and where a block keeps the index of its first point.

    Attributes:
        points: How many there are.
        size: Weights that a point stands for.
        high_bits: The byte whose lowest bits are the index's bits from 8 on.
    """

    points: int
    size: int
    high_bits: int


_LOW_BITS = 2  # the byte after the scale, a half
# Source: ggml-common.h, block_iq2_xxs to block_iq3_s.
GRID_TYPES = {
    GgmlType.IQ2_XXS: _Grid(points=256, size=8, high_bits=3),
    GgmlType.IQ2_XS: _Grid(points=512, size=8, high_bits=3),
    GgmlType.IQ2_S: _Grid(points=1024, size=8, high_bits=66),
    GgmlType.IQ3_XXS: _Grid(points=256, size=4, high_bits=3),
    GgmlType.IQ3_S: _Grid(points=512, size=4, high_bits=66),
}


def grid_levels(kind: GgmlType) -> NDArray[np.uint8]:
    """Return the levels of a grid's points, uint8 ``[points, size]``, in ggml's order.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    grid = GRID_TYPES[kind]
    dequantize = libraries.symbol(
        f"dequantize_row_{kind.name.lower()}",
        None,
        ctypes.c_void_p,  # blocks
        ctypes.c_void_p,  # float32
        ctypes.c_int64,  # weights
    )
    indices = np.arange(grid.points)
    blocks = np.zeros((grid.points, kind.nbytes(kind.block)), np.uint8)
    blocks[:, :_LOW_BITS] = np.array([1.0], np.float16).view(np.uint8)
    blocks[:, grid.high_bits] = indices >> 8
    blocks[:, _LOW_BITS] = indices & 255
    weights = np.empty((grid.points, kind.block), np.float32)
    dequantize(blocks.ctypes.data, weights.ctypes.data, weights.size)
    _, levels = np.unique(weights[:, : grid.size], return_inverse=True)
    return np.ascontiguousarray(levels.reshape(-1, grid.size), np.uint8)
