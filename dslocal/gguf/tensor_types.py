"""ggml's tensor types: their numbers, and how many bytes a block of each takes.

Knows nothing of files, and does not need the library.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class GgmlType(IntEnum):
    """Tensor types by their number in ``enum ggml_type``."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39

    @property
    def block(self) -> int:
        """Return the elements in a block. A row's length must be a multiple of it."""
        return _LAYOUT[self].elements

    @property
    def bits_per_weight(self) -> float:
        """Return the bits that a weight takes, its share of the block's scales included."""
        return 8 * _LAYOUT[self].nbytes / _LAYOUT[self].elements

    def nbytes(self, elements: int) -> int:
        """Return the bytes that ``elements`` take. They must be a multiple of :attr:`block`."""
        return elements // _LAYOUT[self].elements * _LAYOUT[self].nbytes


class _Block(NamedTuple):
    """How many weights one block of a type holds, and the bytes that it takes."""

    elements: int
    nbytes: int


# Source: ggml/src/ggml-common.h. A test compares it with what the library says.
_LAYOUT: dict[GgmlType, _Block] = {
    GgmlType.F32: _Block(1, 4),
    GgmlType.F16: _Block(1, 2),
    GgmlType.BF16: _Block(1, 2),
    GgmlType.F64: _Block(1, 8),
    GgmlType.I8: _Block(1, 1),
    GgmlType.I16: _Block(1, 2),
    GgmlType.I32: _Block(1, 4),
    GgmlType.I64: _Block(1, 8),
    GgmlType.Q4_0: _Block(32, 18),
    GgmlType.Q4_1: _Block(32, 20),
    GgmlType.Q5_0: _Block(32, 22),
    GgmlType.Q5_1: _Block(32, 24),
    GgmlType.Q8_0: _Block(32, 34),
    GgmlType.IQ4_NL: _Block(32, 18),
    GgmlType.MXFP4: _Block(32, 17),
    GgmlType.Q2_K: _Block(256, 84),
    GgmlType.Q3_K: _Block(256, 110),
    GgmlType.Q4_K: _Block(256, 144),
    GgmlType.Q5_K: _Block(256, 176),
    GgmlType.Q6_K: _Block(256, 210),
    GgmlType.IQ1_S: _Block(256, 50),
    GgmlType.IQ1_M: _Block(256, 56),
    GgmlType.IQ2_XXS: _Block(256, 66),
    GgmlType.IQ2_XS: _Block(256, 74),
    GgmlType.IQ2_S: _Block(256, 82),
    GgmlType.IQ3_XXS: _Block(256, 98),
    GgmlType.IQ3_S: _Block(256, 110),
    GgmlType.IQ4_XS: _Block(256, 136),
    GgmlType.TQ1_0: _Block(256, 54),
    GgmlType.TQ2_0: _Block(256, 66),
}
