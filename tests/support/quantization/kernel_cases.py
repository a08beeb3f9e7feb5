"""The types that kernels quantize to, and what to try with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from support.quantization.rows import all_rows, importance_matrices, wild_rows

from dslocal.convert.kernels import Floats
from dslocal.gguf.tensor_types import GgmlType

# without a matrix ggml aborts the process
NEEDS_MATRIX = (GgmlType.IQ2_XXS, GgmlType.IQ2_XS)
# ggml aborts the process at a NaN, and where a sum overflows
GRIDS = (*NEEDS_MATRIX, GgmlType.IQ2_S, GgmlType.IQ3_XXS, GgmlType.IQ3_S)
# IQ1 and the ternary types have no kernel; the others need one, or ggml's own is used unnoticed
KERNEL_TYPES = (
    GgmlType.Q4_K,
    GgmlType.Q6_K,
    GgmlType.Q5_K,
    GgmlType.Q3_K,
    GgmlType.Q2_K,
    GgmlType.Q8_0,
    GgmlType.Q4_0,
    GgmlType.Q4_1,
    GgmlType.Q5_0,
    GgmlType.Q5_1,
    GgmlType.MXFP4,
    GgmlType.IQ4_NL,
    GgmlType.IQ4_XS,
    *GRIDS,
)


class Case(NamedTuple):
    """Rows to quantize, and the matrix to do it with.

    Attributes:
        name: Of the matrix and the rows.
        values: float32 ``[rows, columns]``.
        importance: float32 ``[columns]``, or None.
        is_wild: Whether a conversion refuses such rows. ggml aborts the process at them where the
            type is one of GRIDS.
    """

    name: str
    values: Floats
    importance: Floats | None
    is_wild: bool


def cases_of(kind: GgmlType, seed: int, rows: int, columns: int) -> Iterator[Case]:
    """Yield rows of every kind with every matrix that a type takes.

    Args:
        kind: The type.
        seed: Other seeds give other numbers.
        rows: The number of rows in each case.
        columns: Their length, a multiple of 256.
    """
    for matrix, importance in importance_matrices(seed, columns).items():
        if importance is None and kind in NEEDS_MATRIX:
            continue
        for name, values in all_rows(seed, rows, columns):
            yield Case(f"{matrix}, {name}", values, importance, False)
        for name, values in wild_rows(seed, rows, columns):
            yield Case(f"{matrix}, {name}", values, importance, True)
