"""From stored bytes to float32 rows to ggml's blocks: the arithmetic of a conversion, one slab of
rows at a time.

FP8: an e4m3 byte becomes float32 through a 256-entry table and is multiplied by its block's
``weight_scale_inv``; then it is rounded to bf16, so that the bytes equal those of llama.cpp's two
steps (without that 8.6 % of bytes differ). F32, F16 and BF16 output keeps the exact float32
product, as llama.cpp's converter does.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.errors import CheckpointError, ConversionError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType

QUANTIZABLE = (
    *(
        GgmlType.F32,
        GgmlType.F16,
        GgmlType.BF16,
        GgmlType.Q8_0,
        GgmlType.Q6_K,
        GgmlType.Q5_K,
        GgmlType.Q5_1,
        GgmlType.Q5_0,
    ),
    *(
        GgmlType.Q4_K,
        GgmlType.Q4_1,
        GgmlType.Q4_0,
        GgmlType.IQ4_NL,
        GgmlType.IQ4_XS,
        GgmlType.MXFP4,
        GgmlType.Q3_K,
        GgmlType.IQ3_S,
    ),
    *(
        GgmlType.IQ3_XXS,
        GgmlType.Q2_K,
        GgmlType.IQ2_S,
        GgmlType.IQ2_XS,
        GgmlType.IQ2_XXS,
        GgmlType.IQ1_M,
        GgmlType.IQ1_S,
    ),
    *(GgmlType.TQ2_0, GgmlType.TQ1_0),
)  # what ggml_quantize_chunk makes
# rounds to a bf16 number that float16, every block's scale, can hold; from 1e14 on ggml's IQ types
# abort
MAX_WEIGHT = 65280.0
CONVERTIBLE = ("F8_E4M3", "BF16", "F16", "F32")

# relative RMSE of each type on Gaussian weights, measured with ggml_quantize_chunk over 64 rows of
# 4096
RELATIVE_ERROR = {
    **{GgmlType.F32: 0.0, GgmlType.TQ2_0: 0.8084, GgmlType.TQ1_0: 0.8084},
    **{
        GgmlType.F16: 0.0002,
        GgmlType.BF16: 0.0017,
        GgmlType.Q8_0: 0.0054,
        GgmlType.Q6_K: 0.0174,
        GgmlType.Q5_1: 0.0339,
        GgmlType.Q5_K: 0.0354,
        GgmlType.Q5_0: 0.0405,
    },
    **{
        GgmlType.Q4_1: 0.0700,
        GgmlType.Q4_K: 0.0709,
        GgmlType.IQ4_NL: 0.0750,
        GgmlType.IQ4_XS: 0.0757,
        GgmlType.Q4_0: 0.0818,
        GgmlType.MXFP4: 0.1142,
    },
    **{
        GgmlType.IQ3_S: 0.1374,
        GgmlType.Q3_K: 0.1446,
        GgmlType.IQ3_XXS: 0.1820,
        GgmlType.IQ2_S: 0.2490,
        GgmlType.Q2_K: 0.2684,
        GgmlType.IQ2_XS: 0.2997,
    },
    **{GgmlType.IQ2_XXS: 0.3441, GgmlType.IQ1_M: 0.4519, GgmlType.IQ1_S: 0.4860},
}

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def _e4m3_table() -> Floats:
    """float32 value of every e4m3fn byte: 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7f and
    0xff are NaN.
    """
    values = []
    for byte in range(256):
        exponent, mantissa = byte >> 3 & 15, byte & 7
        magnitude = (
            math.ldexp(mantissa, -9) if exponent == 0 else math.ldexp(8 + mantissa, exponent - 10)
        )
        values.append(
            math.nan if byte & 0x7F == 0x7F else math.copysign(magnitude, -1 if byte & 0x80 else 1)
        )
    return np.array(values, np.float32)


E4M3 = _e4m3_table()
_F32 = ctypes.POINTER(ctypes.c_float)


def decode_rows(
    raw: Bytes, tensor: TensorInfo, first_row: int, scales: Floats | None, block: tuple[int, int]
) -> Floats:
    """float32 ``[rows, columns]`` of consecutive rows of ``tensor``, whose bytes are ``raw`` and
    whose first is ``first_row``.

    ``scales`` are the whole tensor's block scales when it is FP8. Raises CheckpointError on NaN,
    infinity and beyond float16.
    """
    columns = tensor.shape[-1]
    with np.errstate(all="ignore"):
        if tensor.dtype == "F8_E4M3":
            values = np.take(E4M3, raw, mode="clip").reshape(-1, columns)
            if scales is not None:
                _scale_blocks(values, first_row, scales, block)
        elif tensor.dtype == "BF16":
            values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(-1, columns)
        elif tensor.dtype == "F16":
            values = raw.view("<f2").astype(np.float32).reshape(-1, columns)
        else:
            values = raw.view("<f4").reshape(-1, columns)
        sane = (
            values.max() <= MAX_WEIGHT and values.min() >= -MAX_WEIGHT
        )  # false when there is a NaN
        if not sane:
            row, column = np.argwhere(~(np.abs(values) <= MAX_WEIGHT))[0]
            value = values[row, column]
            what = (
                f"{value:g}, more than float16 has room for"
                if np.isfinite(value)
                else "NaN or infinity"
            )
            raise CheckpointError(
                f"holds {what}, first at [{first_row + row}, {column}]",
                file=tensor.file,
                tensor=tensor.name,
            )
    return values


def round_to_bf16(values: Floats) -> Floats:
    """A copy rounded to the nearest bf16, ties to even."""
    bits = values.view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded &= np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def _scale_blocks(values: Floats, first_row: int, scales: Floats, block: tuple[int, int]) -> None:
    rows, columns = values.shape
    for top in range(first_row - first_row % block[0], first_row + rows, block[0]):
        part = values[max(0, top - first_row) : top - first_row + block[0]]
        part *= np.repeat(scales[top // block[0]], block[1])[:columns]


@functools.cache
def _quantize_chunk() -> Any:
    return libraries.symbol(
        "ggml_quantize_chunk",
        ctypes.c_size_t,
        ctypes.c_int,
        _F32,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        _F32,
    )


@functools.cache
def init_quantization(kind: GgmlType) -> None:
    """Builds ggml's tables for ``kind``; must have happened before threads quantize to it."""
    libraries.symbol("ggml_quantize_init", None, ctypes.c_int)(int(kind))
    _quantize_chunk()


def encode_rows(kind: GgmlType, values: Floats, importance: Floats | None = None) -> Bytes:
    """``values`` ``[rows, columns]`` in blocks of ``kind``, as bytes; ``importance`` is float32
    ``[columns]``.

    ctypes releases the GIL, so threads run side by side.
    """
    rows, columns = values.shape
    values = np.ascontiguousarray(values)
    if kind is GgmlType.F32:
        return values.reshape(-1).view(np.uint8)
    out = np.empty(kind.nbytes(rows * columns), np.uint8)
    weights = None if importance is None else importance.ctypes.data_as(_F32)
    written = _quantize_chunk()(
        int(kind), values.ctypes.data_as(_F32), out.ctypes.data, 0, rows, columns, weights
    )
    if written != out.nbytes:
        raise ConversionError(
            f"ggml wrote {written} bytes of {kind.name} where {out.nbytes} were laid out"
        )
    return out
