"""Every kernel, at every level of the processor, writes the bytes that ggml_quantize_chunk does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.quantization.rows import all_rows, importance_matrices, wild_rows

from dslocal.convert.kernels import (
    Kernels,
    best_kernels,
    compiled_levels,
    init_quantization,
    quantize_with_ggml,
)
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

pytestmark = pytest.mark.skipif(not compiled_levels(), reason="no kernels were compiled")


def usable_kernels() -> list[Kernels]:
    """Return the compiled kernels that this processor can run."""
    kernels = [Kernels(path) for path in compiled_levels().values()]
    return [k for k in kernels if k.needed_level <= k.processor_level]


def assert_same_bytes(seed: int, rows: int, columns: int, kinds: tuple[GgmlType, ...]) -> None:
    """Quantize rows of every kind with every matrix, by all kernels and by ggml."""
    matrices = importance_matrices(seed, columns)
    for kind in kinds:
        init_quantization(kind)
        tables = list(all_rows(seed, rows, columns))
        if kind not in GRIDS:
            tables += wild_rows(seed, rows, columns)
        for matrix, importance in matrices.items():
            if importance is None and kind in NEEDS_MATRIX:
                continue
            for name, values in tables:
                expected = quantize_with_ggml(kind, values, importance)
                for kernels in usable_kernels():
                    written = kernels.quantize(kind, values, importance)
                    same = np.array_equal(written, expected)
                    assert same, (kind.name, kernels.level, matrix, name)


def parameters() -> list[Any]:
    """Return the types as parameters; slow are those whose tables ggml builds for seconds."""
    slow = (GgmlType.IQ2_XS, GgmlType.IQ2_S)
    return [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if kind in slow else [])
        for kind in KERNEL_TYPES
    ]


@pytest.mark.parametrize("kind", parameters())
def test_kernels_write_the_bytes_of_ggml(kind: GgmlType) -> None:
    assert_same_bytes(1, rows=3, columns=1280, kinds=(kind,))  # 15 blocks: no multiple of the lanes


def test_the_best_level_of_the_processor_is_loaded() -> None:
    best = best_kernels()
    assert best is not None
    assert best.level == usable_kernels()[0].level
    assert all(best.supports(kind) for kind in KERNEL_TYPES)
    assert not best.supports(GgmlType.F16)
