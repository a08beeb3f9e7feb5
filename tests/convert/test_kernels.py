"""Every kernel, at every level of the processor, writes the bytes that ggml_quantize_chunk does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.quantization.kernel_cases import GRIDS, KERNEL_TYPES, cases_of

from dslocal.convert.kernels import (
    Kernels,
    best_kernels,
    compiled_levels,
    init_quantization,
    quantize_with_ggml,
)
from dslocal.gguf.tensor_types import GgmlType

pytestmark = pytest.mark.skipif(not compiled_levels(), reason="no kernels were compiled")


def usable_kernels() -> list[Kernels]:
    """Return the compiled kernels that this processor can run."""
    kernels = [Kernels(path) for path in compiled_levels().values()]
    return [k for k in kernels if k.needed_level <= k.processor_level]


def assert_same_bytes(seed: int, rows: int, columns: int, kind: GgmlType) -> None:
    """Quantize rows of every kind with every matrix, by all kernels and by ggml."""
    init_quantization(kind)
    for case in cases_of(kind, seed, rows, columns):
        if case.is_wild and kind in GRIDS:
            continue
        expected = quantize_with_ggml(kind, case.values, case.importance)
        for kernels in usable_kernels():
            written = kernels.quantize(kind, case.values, case.importance)
            assert np.array_equal(written, expected), (kernels.level, case.name)


def parameters() -> list[Any]:
    """Return the types as parameters; slow are those whose tables ggml builds for seconds."""
    slow = (GgmlType.IQ2_XS, GgmlType.IQ2_S)
    return [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if kind in slow else [])
        for kind in KERNEL_TYPES
    ]


@pytest.mark.parametrize("kind", parameters())
def test_kernels_write_the_bytes_of_ggml(kind: GgmlType) -> None:
    assert_same_bytes(1, rows=3, columns=1280, kind=kind)  # 15 blocks: no multiple of the lanes


def test_the_best_level_of_the_processor_is_loaded() -> None:
    best = best_kernels()
    assert best is not None
    assert best.level == usable_kernels()[0].level
    assert all(best.supports(kind) for kind in KERNEL_TYPES)
    assert not best.supports(GgmlType.F16)
