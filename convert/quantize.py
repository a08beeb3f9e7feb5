"""The arithmetic of a conversion: stored bytes to float32 rows to ggml's blocks.

It works on a few rows at a time. FP8: an e4m3 byte becomes float32 through a 256-entry table and is
multiplied by its block's ``weight_scale_inv``; then it is rounded to bf16, so that the bytes equal
those of llama.cpp's two steps (without that 8.6 % of bytes differ). F32, F16 and BF16 output keeps
the exact float32 product, as llama.cpp's converter does. V4's FP8 goes through Q8_0, not bf16.
"""

from __future__ import annotations

import math

import numpy as np

from dslocal.convert import fp4
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.convert.kernels import (
    Bytes,
    Floats,
    best_kernels,
    dequantize_with_ggml,
    quantize_with_ggml,
)
from dslocal.errors import CheckpointError
from dslocal.gguf.tensor_types import GgmlType

CONVERTIBLE = ("F8_E4M3", "BF16", "F16", "F32")

# The largest weight: it rounds to a bf16 number that float16, every block's scale, can hold. From
# 1e14 on ggml's IQ types abort the process.
MAX_WEIGHT = 65280.0

# What ggml_quantize_chunk makes, and the relative RMSE of each on Gaussian weights, measured with
# it over 64 rows of 4096.
RELATIVE_ERROR = {
    GgmlType.F32: 0.0,
    GgmlType.F16: 0.0002,
    GgmlType.BF16: 0.0017,
    GgmlType.Q8_0: 0.0054,
    GgmlType.Q6_K: 0.0174,
    GgmlType.Q5_K: 0.0354,
    GgmlType.Q5_1: 0.0339,
    GgmlType.Q5_0: 0.0405,
    GgmlType.Q4_K: 0.0709,
    GgmlType.Q4_1: 0.0700,
    GgmlType.Q4_0: 0.0818,
    GgmlType.IQ4_NL: 0.0750,
    GgmlType.IQ4_XS: 0.0757,
    GgmlType.MXFP4: 0.1142,
    GgmlType.Q3_K: 0.1446,
    GgmlType.IQ3_S: 0.1374,
    GgmlType.IQ3_XXS: 0.1820,
    GgmlType.Q2_K: 0.2684,
    GgmlType.IQ2_S: 0.2490,
    GgmlType.IQ2_XS: 0.2997,
    GgmlType.IQ2_XXS: 0.3441,
    GgmlType.IQ1_M: 0.4519,
    GgmlType.IQ1_S: 0.4860,
    GgmlType.TQ2_0: 0.8084,
    GgmlType.TQ1_0: 0.8084,
}
QUANTIZABLE = tuple(RELATIVE_ERROR)
DECODED_BY_GGML = frozenset(kind.name for kind in QUANTIZABLE if kind.block > 1)  # of GGUF sources


def _e4m3_value(byte: int) -> float:
    """Return the value of an e4m3fn byte: 1 sign, 4 exponent (bias 7), 3 mantissa bits.

    0x7f and 0xff are NaN. Source: "FP8 Formats for Deep Learning" (arXiv:2209.05433), table 1.
    """
    if byte & 0x7F == 0x7F:
        return math.nan
    exponent, mantissa = byte >> 3 & 15, byte & 7
    if exponent == 0:
        magnitude = math.ldexp(mantissa, -9)
    else:
        magnitude = math.ldexp(8 + mantissa, exponent - 10)
    return math.copysign(magnitude, -1 if byte & 0x80 else 1)


_Q8_0 = np.dtype([("scale", "<f2"), ("codes", "i1", 32)])
E4M3: Floats = np.array([_e4m3_value(byte) for byte in range(256)], np.float32)


def decode_rows(
    raw: Bytes,
    tensor: TensorInfo,
    first_row: int,
    scales: Floats | Bytes | None,
    block: tuple[int, int],
) -> Floats:
    """Return consecutive rows of a source tensor as float32 ``[rows, columns]``.

    Args:
        raw: The rows as they are stored, uint8 ``[rows * bytes of a row]``.
        tensor: The tensor that they are of.
        first_row: The number of the first of them.
        scales: The whole tensor's scales. FP8: float32 ``[ceil(all rows / block[0]), ceil(columns /
            block[1])]``; FP4: E8M0 codes, uint8 ``[all rows, columns / 32]``.
        block: How many rows and columns share one scale.

    Raises:
        CheckpointError: A value is NaN, infinite, or more than float16 can hold.
    """
    columns = tensor.shape[-1]
    with np.errstate(all="ignore"):
        if tensor.dtype == "F8_E4M3":
            values = np.take(E4M3, raw, mode="clip").reshape(-1, columns)
            if scales is not None:
                _multiply_blocks(values, first_row, scales.view(np.float32), block)
        elif tensor.dtype == "FP4" and scales is not None:
            rows = len(raw) * 2 // columns
            codes = scales[first_row : first_row + rows].view(np.uint8)
            values = fp4.decode(raw, codes, columns)
        elif tensor.dtype == "BF16":
            values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(-1, columns)
        elif tensor.dtype == "F16":
            values = raw.view("<f2").astype(np.float32).reshape(-1, columns)
        elif tensor.dtype in DECODED_BY_GGML:
            kind = GgmlType[tensor.dtype]
            weights = raw.nbytes // kind.nbytes(kind.block) * kind.block
            values = dequantize_with_ggml(kind, raw, weights).reshape(-1, columns)
        else:
            values = raw.view("<f4").reshape(-1, columns)
        is_sane = values.max() <= MAX_WEIGHT and values.min() >= -MAX_WEIGHT  # not with a NaN
        if not is_sane:
            raise _unusable_value(values, tensor, first_row)
    return values


def _multiply_blocks(
    values: Floats, first_row: int, scales: Floats, block: tuple[int, int]
) -> None:
    """Multiply ``values`` ``[rows, columns]`` in place, each by the scale of its block."""
    rows, columns = values.shape
    for top in range(first_row - first_row % block[0], first_row + rows, block[0]):
        part = values[max(0, top - first_row) : top - first_row + block[0]]
        part *= np.repeat(scales[top // block[0]], block[1])[:columns]


def _unusable_value(values: Floats, tensor: TensorInfo, first_row: int) -> CheckpointError:
    """Return the error that names the first value that cannot be converted."""
    row, column = np.argwhere(~(np.abs(values) <= MAX_WEIGHT))[0]
    value = values[row, column]
    what = "NaN or infinity"
    if np.isfinite(value):
        what = f"{value:g}, more than float16 has room for"
    return CheckpointError(
        f"holds {what}, first at [{first_row + row}, {column}]",
        file=tensor.file,
        tensor=tensor.name,
    )


def round_to_bf16(values: Floats) -> Floats:
    """Return a float32 copy rounded to the nearest bf16 values, ties to even."""
    bits = values.view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded &= np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def through(kind: GgmlType, values: Floats) -> Floats:
    """Return a float32 copy of ``values`` as they are after a conversion to bf16 or Q8_0."""
    if kind is GgmlType.BF16:
        return round_to_bf16(values)
    blocks = encode_rows(GgmlType.Q8_0, values).reshape(-1, _Q8_0.itemsize).view(_Q8_0)
    decoded = blocks["codes"][:, 0].astype(np.float32)
    decoded *= blocks["scale"].astype(np.float32)
    return decoded.reshape(values.shape)


def encode_rows(kind: GgmlType, values: Floats, importance: Floats | None = None) -> Bytes:
    """Return rows in blocks of a type, as bytes: by a kernel where there is one, else by ggml.

    The GIL is released meanwhile, so threads run side by side.

    Args:
        kind: The type to quantize to. Its ``init_quantization`` must have happened.
        values: float32 ``[rows, columns]``; columns must be a multiple of the type's block.
        importance: The importance of each column, float32 ``[columns]``.

    Returns:
        uint8 ``[bytes]``, the rows one after another.

    Raises:
        ConversionError: ggml wrote another number of bytes than the type takes.
    """
    if kind is GgmlType.F32:
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    kernels = best_kernels()
    if kernels is not None and kernels.supports(kind):
        return kernels.quantize(kind, values, importance)
    return quantize_with_ggml(kind, values, importance)
