"""ggml's own quantizers: for the types that have no kernel, and where none were compiled."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import ConversionError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_FLOAT_POINTER = ctypes.POINTER(ctypes.c_float)


@functools.cache
def quantize_chunk() -> Any:
    """Return ``ggml_quantize_chunk`` as a ctypes call. Raises EngineMissingError."""
    return libraries.symbol(
        "ggml_quantize_chunk",
        ctypes.c_size_t,
        ctypes.c_int,  # type
        _FLOAT_POINTER,  # src
        ctypes.c_void_p,  # dst
        ctypes.c_int64,  # start
        ctypes.c_int64,  # nrows
        ctypes.c_int64,  # n_per_row
        _FLOAT_POINTER,  # imatrix
    )


@functools.cache
def init_quantization(kind: GgmlType) -> None:
    """Build ggml's tables for a type; must have happened before threads quantize to it.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    libraries.symbol("ggml_quantize_init", None, ctypes.c_int)(int(kind))
    quantize_chunk()


def quantize_with_ggml(kind: GgmlType, values: Floats, importance: Floats | None = None) -> Bytes:
    """Return rows in blocks of a type, by ggml_quantize_chunk.

    ctypes releases the GIL, so threads run side by side.

    Args:
        kind: The type to quantize to.
        values: float32 ``[rows, columns]``; columns must be a multiple of the type's block.
        importance: The importance of each column, float32 ``[columns]``.

    Returns:
        uint8 ``[bytes]``, the rows one after another.

    Raises:
        ConversionError: ggml wrote another number of bytes than the type takes.
    """
    rows, columns = values.shape
    values = np.ascontiguousarray(values)
    out = np.empty(kind.nbytes(rows * columns), np.uint8)
    weights = None if importance is None else importance.ctypes.data_as(_FLOAT_POINTER)
    written = quantize_chunk()(
        int(kind), values.ctypes.data_as(_FLOAT_POINTER), out.ctypes.data, 0, rows, columns, weights
    )
    if written != out.nbytes:
        raise ConversionError(
            f"ggml wrote {written} bytes of {kind.name} where {out.nbytes} were laid out"
        )
    return out
