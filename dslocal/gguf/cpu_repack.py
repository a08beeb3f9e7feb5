"""Find out from ggml itself which weights llama.cpp rearranges for this CPU.

llama.cpp tries a weight with each of the CPU's extra buffer types (CPU_REPACK, AMX, KleidiAI) and
takes the first whose device supports the product (llama.cpp, src/llama-model-loader.cpp,
``weight_buft_supported``). The same question is asked here with small tensors: what is supported
depends on the type, the number of rows, and whether experts are stacked.

Nothing is rearranged on a CPU with AMX. llama.cpp uses its AMX kernels there or no extra buffer
type at all, and they end the process: MLA's ``attn_k_b`` is taken, but its product with a permuted
tensor is not supported (ggml-backend.cpp, ``GGML_ASSERT(*cur_backend_id != -1)``), and in a virtual
machine on a Xeon each product of a dense model was a general protection fault, in llama-bench too.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .libraries import symbol
from .tensor_types import GgmlType

ROW_MULTIPLES = (1, 4, 8, 16, 32)
_COLUMNS = 256  # a multiple of every type's block
_CPU = 0  # enum ggml_backend_dev_type
_MEMORY = 1 << 16  # bytes, for a handful of tensors without their data
_HANDLE = ctypes.c_void_p
_AMX = b"AMX"  # the name of a buffer type


class RepackedType(NamedTuple):
    """A type whose weights are rearranged.

    Attributes:
        type: the type.
        rows: what the number of a matrix's rows must be a multiple of.
        experts: whether stacks of experts are rearranged as well.
        growth: bytes of the copy for each byte of the file.
    """

    type: GgmlType
    rows: int
    experts: bool
    growth: float = 1.0


class InitParams(ctypes.Structure):
    """ggml.h's ``ggml_init_params``."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@functools.cache
def repacked_types() -> tuple[RepackedType, ...]:
    """Return the types that llama.cpp rearranges for this CPU; none on one with AMX.

    Raises:
        EngineMissingError: llama-cpp-python is absent or does not fit.
    """
    device = symbol("ggml_backend_dev_by_type", _HANDLE, ctypes.c_int)(_CPU)
    buffer_types = list(_extra_buffer_types(device)) if device else []
    name = symbol("ggml_backend_buft_name", ctypes.c_char_p, _HANDLE)
    if not is_rearranging_safe(name(buffer_type) or b"" for buffer_type in buffer_types):
        return ()
    quantized = [kind for kind in GgmlType if kind.block > 1]
    found = (_probe(device, buffer_types, kind) for kind in quantized)
    return tuple(one for one in found if one)


def is_rearranging_safe(buffer_types: Iterable[bytes]) -> bool:
    """Return whether llama.cpp may use the CPU's extra buffer types, given their names."""
    return _AMX not in buffer_types


def _extra_buffer_types(device: int) -> Iterator[int]:
    """Yield the CPU's buffer types beside the plain one; none for a library without them."""
    registry = symbol("ggml_backend_dev_backend_reg", _HANDLE, _HANDLE)(device)
    address = symbol("ggml_backend_reg_get_proc_address", _HANDLE, _HANDLE, ctypes.c_char_p)
    function = address(registry, b"ggml_backend_dev_get_extra_bufts")
    if not function:
        return
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(_HANDLE), _HANDLE)(function)(device)
    number = 0
    while listed and listed[number]:
        yield listed[number]
        number += 1


def _probe(device: int, buffer_types: list[int], kind: GgmlType) -> RepackedType | None:
    """Return how weights of one type are rearranged; None where they are not."""
    for buffer_type in buffer_types:
        if not _growth(device, buffer_type, kind, ROW_MULTIPLES[-1], experts=False):
            continue
        for rows in ROW_MULTIPLES:
            growth = _growth(device, buffer_type, kind, rows, experts=False)
            if growth:
                experts = bool(_growth(device, buffer_type, kind, rows, experts=True))
                return RepackedType(kind, rows, experts, growth)
    return None


def _growth(
    device: int, buffer_type: int, kind: GgmlType, rows: int, *, experts: bool
) -> float | None:
    """Return the bytes that a weight takes in a buffer type for each of the file's.

    None where the device does not multiply with it from there.
    """
    create = symbol("ggml_init", _HANDLE, InitParams)
    allocate = symbol("ggml_backend_alloc_ctx_tensors_from_buft", _HANDLE, _HANDLE, _HANDLE)
    allocated_size = symbol("ggml_backend_buft_get_alloc_size", ctypes.c_size_t, _HANDLE, _HANDLE)
    supports = symbol("ggml_backend_dev_supports_op", ctypes.c_bool, _HANDLE, _HANDLE)
    release = symbol("ggml_free", None, _HANDLE)
    release_buffer = symbol("ggml_backend_buffer_free", None, _HANDLE)
    weights = create(InitParams(_MEMORY, None, True))
    products = create(InitParams(_MEMORY, None, True))
    buffer = None
    try:
        weight = _tensor(weights, kind, _COLUMNS, rows, 2 if experts else 1)
        buffer = allocate(weights, buffer_type)
        if not buffer or not supports(device, _product(products, weight, experts=experts)):
            return None
        nbytes = symbol("ggml_nbytes", ctypes.c_size_t, _HANDLE)(weight)
        return float(allocated_size(buffer_type, weight) / nbytes)
    finally:
        if buffer:
            release_buffer(buffer)
        release(products)
        release(weights)


def _product(context: int, weight: int, *, experts: bool) -> Any:
    """Return the product of a weight with one token, of the experts that it is routed to."""
    if not experts:
        one = _tensor(context, GgmlType.F32, _COLUMNS, 1, 1)
        return symbol("ggml_mul_mat", _HANDLE, _HANDLE, _HANDLE, _HANDLE)(context, weight, one)
    one = _tensor(context, GgmlType.F32, _COLUMNS, 1, 1)
    ids = symbol("ggml_new_tensor_2d", _HANDLE, _HANDLE, ctypes.c_int, *[ctypes.c_int64] * 2)
    multiply = symbol("ggml_mul_mat_id", _HANDLE, *[_HANDLE] * 4)
    return multiply(context, weight, one, ids(context, int(GgmlType.I32), 1, 1))


def _tensor(context: int, kind: GgmlType, columns: int, rows: int, matrices: int) -> Any:
    if matrices == 1:
        matrix = symbol("ggml_new_tensor_2d", _HANDLE, _HANDLE, ctypes.c_int, *[ctypes.c_int64] * 2)
        return matrix(context, int(kind), columns, rows)
    stack = symbol("ggml_new_tensor_3d", _HANDLE, _HANDLE, ctypes.c_int, *[ctypes.c_int64] * 3)
    return stack(context, int(kind), columns, rows, matrices)
