"""A kernel decodes, scales, rounds and checks stored weights to the numbers that numpy makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from dslocal.convert.architectures.mapping import Transform
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.convert.kernels import (
    Floats,
    Kernels,
    StoredRows,
    compiled_levels,
    init_quantization,
    quantize_with_ggml,
)
from dslocal.convert.quantize import MAX_WEIGHT, decode_rows, round_to_bf16
from dslocal.gguf.tensor_types import GgmlType

pytestmark = pytest.mark.skipif(not compiled_levels(), reason="no kernels were compiled")

KIND = GgmlType.Q6_K
ROWS, COLUMNS = 256, 512
FIRST_ROW = 100  # of the tensor: in the middle of a block
BLOCK = (48, 80)  # blocks end in the middle of a quantizer's block, and are ragged
BITS = {"F8_E4M3": np.uint8, "BF16": np.uint16, "F16": np.uint16, "F32": np.uint32}


def usable_kernels() -> list[Kernels]:
    """Return the compiled kernels that this processor can run."""
    kernels = [Kernels(path) for path in compiled_levels().values()]
    return [k for k in kernels if k.needed_level <= k.processor_level]


def random_bits(dtype: str) -> np.ndarray[Any, Any]:
    """Return every number of a type that a weight may be, in random order: ``[rows, columns]``."""
    r = np.random.default_rng(1)
    bits = r.integers(0, 1 << 32, (ROWS, COLUMNS), np.uint32).astype(BITS[dtype])
    if dtype == "F8_E4M3":
        bits[bits & 0x7F == 0x7F] = 0
    elif dtype == "BF16":
        bits[bits & 0x7F80 > 0x4700] &= 0x80FF
    elif dtype == "F16":
        bits[bits & 0x7FFF > 0x7BF8] = 1  # denormal
    else:
        bits[bits & 0x7FFFFFFF > 0x477F0000] &= 0x80FFFFFF
    return bits


def stored_rows(dtype: str, **changes: Any) -> StoredRows:
    """Return random rows of a type, with scales where it is FP8."""
    raw = random_bits(dtype).reshape(-1).view(np.uint8)
    scales = None
    if dtype == "F8_E4M3":
        shape = (-(-(FIRST_ROW + ROWS) // BLOCK[0]), -(-COLUMNS // BLOCK[1]))
        scales = np.random.default_rng(2).uniform(-0.02, 0.02, shape).astype(np.float32)
    rows = StoredRows(raw, dtype, FIRST_ROW, ROWS, COLUMNS, scales, BLOCK, limit=MAX_WEIGHT)
    return rows._replace(**changes)


def decoded(stored: StoredRows) -> Floats:
    """Return rows as numpy decodes them: float32 ``[rows, columns]``."""
    tensor = TensorInfo("x", stored.dtype, (FIRST_ROW + ROWS, COLUMNS), "x.safetensors", 0, 0)
    assert stored.scales is None or stored.scales.dtype == np.float32
    scales = None if stored.scales is None else stored.scales.view(np.float32)
    return decode_rows(stored.raw, tensor, FIRST_ROW, scales, BLOCK)


def transformed(values: Floats, transform: Transform) -> Floats:
    """Return rows as they lie in the result."""
    if transform is Transform.TRANSPOSE:
        return np.ascontiguousarray(values.T)
    if transform is Transform.INTERLEAVE:
        return np.stack(np.split(values, 2), axis=1).reshape(values.shape)
    return values


def through_q8_0(values: Floats) -> Floats:
    blocks = quantize_with_ggml(GgmlType.Q8_0, values).reshape(len(values), -1)
    result: Floats = dequantize(blocks, GGMLQuantizationType.Q8_0)
    return result


@pytest.mark.parametrize("transform", Transform)
@pytest.mark.parametrize("dtype", BITS)
def test_every_source_type_and_transform(dtype: str, transform: Transform) -> None:
    init_quantization(KIND)
    stored = stored_rows(dtype, transform=transform)
    expected = quantize_with_ggml(KIND, transformed(decoded(stored), transform))
    for kernels in usable_kernels():
        written = kernels.convert(KIND, stored)
        assert written is not None
        assert np.array_equal(written, expected), kernels.level


@pytest.mark.parametrize("rounding", [GgmlType.BF16, GgmlType.Q8_0])
def test_rounding_on_the_way(rounding: GgmlType) -> None:
    init_quantization(KIND)
    stored = stored_rows("F8_E4M3", rounding=rounding)
    values = decoded(stored)
    rounded = round_to_bf16(values) if rounding is GgmlType.BF16 else through_q8_0(values)
    expected = quantize_with_ggml(KIND, rounded)
    for kernels in usable_kernels():
        written = kernels.convert(KIND, stored)
        assert written is not None
        assert np.array_equal(written, expected), kernels.level


def test_fp4_has_two_weights_in_a_byte_and_powers_of_two_for_scales() -> None:
    init_quantization(KIND)
    r = np.random.default_rng(3)
    raw = r.integers(0, 256, ROWS * COLUMNS // 2, np.uint8)
    scales = r.integers(0, 140, (FIRST_ROW + ROWS, COLUMNS // 32), np.uint8)
    nibbles = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1, 32)
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])[nibbles & 7]
    powers = np.exp2(scales[FIRST_ROW:].reshape(-1, 1).astype(np.float64) - 127)
    values = np.where(nibbles & 8, -magnitudes, magnitudes) * powers
    expected = quantize_with_ggml(KIND, values.astype(np.float32).reshape(ROWS, COLUMNS))
    stored = StoredRows(raw, "FP4", FIRST_ROW, ROWS, COLUMNS, scales, (1, 32), limit=MAX_WEIGHT)
    for kernels in usable_kernels():
        written = kernels.convert(KIND, stored)
        assert written is not None
        assert np.array_equal(written, expected), kernels.level


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        ("F8_E4M3", 0x7F),
        ("F8_E4M3", 0xFF),
        ("BF16", 0x7FC0),
        ("BF16", 0xFF80),
        ("BF16", 0x4780),  # 65536
        ("F16", 0x7C00),
        ("F16", 0xFE01),
        ("F32", 0x7F800001),
        ("F32", 0x477F0001),  # just above 65280
    ],
)
def test_weights_out_of_range_are_noticed(dtype: str, bits: int) -> None:
    init_quantization(KIND)
    stored = stored_rows(dtype)
    stored.raw.view(BITS[dtype])[-5] = bits
    for kernels in usable_kernels():
        assert kernels.convert(KIND, stored) is None
        assert kernels.convert(KIND, stored._replace(transform=Transform.TRANSPOSE)) is None
