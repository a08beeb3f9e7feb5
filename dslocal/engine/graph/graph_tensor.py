"""ggml's ``struct ggml_tensor``, as the loaded library lays it out.

Source: llama.cpp, ggml/include/ggml.h. A library that lays it out otherwise is refused.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from dslocal.errors import EngineMissingError
from dslocal.gguf import libraries

MAX_DIMS = 4
MAX_SOURCES = 10
MAX_NAME = 64
OP_PARAMS = 16
MAX_OPS = 1000
PROBE_SHAPE = (24, 6)
PROBE_NAME = b"dslocal.probe"
PROBE_MEMORY = 1 << 14


class GraphTensor(ctypes.Structure):
    """A node of a graph, or a weight. ``ne`` are elements and ``nb`` bytes by dimension."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * MAX_DIMS),
        ("nb", ctypes.c_size_t * MAX_DIMS),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * OP_PARAMS),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * MAX_SOURCES),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * MAX_NAME),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


OP_OFFSET = GraphTensor.op.offset
NAME_OFFSET = GraphTensor.name.offset


class _ProbeContextParams(ctypes.Structure):
    """ggml.h's ``ggml_init_params``."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@functools.cache
def operation(name: str) -> int:
    """Return the number that the library gives to the operation ``name``, such as MUL_MAT.

    Raises:
        EngineMissingError: It has none of that name.
    """
    op_name = libraries.symbol("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
    for number in range(MAX_OPS):
        known = op_name(number)
        if known == name.encode():
            return number
        if not known:
            break
    raise _other_layout()


@functools.cache
def require_layout() -> None:
    """Compare the struct with a tensor that the library makes.

    Raises:
        EngineMissingError: They differ.
    """
    handle = ctypes.c_void_p
    init = libraries.symbol("ggml_init", handle, _ProbeContextParams)
    new = libraries.symbol(
        "ggml_new_tensor_2d", handle, handle, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    )
    multiply = libraries.symbol("ggml_mul_mat", handle, handle, handle, handle)
    set_name = libraries.symbol("ggml_set_name", handle, handle, ctypes.c_char_p)
    free = libraries.symbol("ggml_free", None, handle)
    context = init(_ProbeContextParams(PROBE_MEMORY, None, True))
    try:
        weight = new(context, 0, *PROBE_SHAPE)
        set_name(weight, PROBE_NAME)
        product = multiply(context, weight, weight)
        first, second = tensor_at(weight), tensor_at(product)
        found: tuple[Any, ...] = (
            tuple(first.ne),
            tuple(first.nb[:2]),
            first.name,
            second.op,
            tuple(second.src[:3]),
        )
    finally:
        free(context)
    columns, rows = PROBE_SHAPE
    expected = (
        (columns, rows, 1, 1),
        (4, 4 * columns),
        PROBE_NAME,
        operation("MUL_MAT"),
        (weight, weight, None),
    )
    if found != expected:
        raise _other_layout()


def tensor_at(address: int) -> GraphTensor:
    """Return the tensor at ``address``, a view that is valid as long as its graph."""
    return GraphTensor.from_address(address)


def operation_of(address: int) -> int:
    """Return the number of the operation of the node at ``address``, without reading the rest."""
    return ctypes.c_int.from_address(address + OP_OFFSET).value


def weight_name(name: bytes) -> str:
    """Return a weight's name without what the scheduler adds: ``CUDA0#blk.0.attn_k.weight#0``."""
    parts = name.split(b"#", 2)
    return (parts[1] if len(parts) > 1 else name).decode("utf-8", "replace")


def _other_layout() -> EngineMissingError:
    required = ".".join(map(str, libraries.REQUIRED_VERSION))
    return EngineMissingError(
        f"llama-cpp-python {libraries.version()} has another layout of ggml's tensors than "
        f"{required}",
        hint=f"pip install 'llama-cpp-python=={required}'",
    )
