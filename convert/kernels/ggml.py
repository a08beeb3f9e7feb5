"""ggml's own quantizers, for types without a kernel and where none were compiled; its decoders."""

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
_TO_FLOAT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class _TypeTraits(ctypes.Structure):
    """The beginning of ggml.h's ``ggml_type_traits``."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
    )


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


@functools.cache
def _to_float(kind: GgmlType) -> Any:
    """Return ggml's decoder of a type: ``to_float`` of its ``ggml_type_traits``.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    traits = libraries.symbol("ggml_get_type_traits", ctypes.POINTER(_TypeTraits), ctypes.c_int)
    return _TO_FLOAT(traits(int(kind)).contents.to_float)


def dequantize_with_ggml(kind: GgmlType, raw: Bytes, elements: int) -> Floats:
    """Return blocks of a quantized type as float32 ``[elements]``, as llama.cpp decodes them.

    ctypes releases the GIL, so threads run side by side.
    """
    raw = np.ascontiguousarray(raw)
    if raw.nbytes != kind.nbytes(elements):
        raise ValueError(f"{raw.nbytes} bytes are not {elements} weights of {kind.name}")
    values = np.empty(elements, np.float32)
    _to_float(kind)(raw.ctypes.data, values.ctypes.data, elements)
    return values


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
