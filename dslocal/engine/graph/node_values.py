"""Read the values of a graph's nodes, wherever they are: in RAM, or in the memory of a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType

from .graph_tensor import GraphTensor, tensor_at

NUMPY_TYPES: dict[int, Any] = {GgmlType.F32: np.float32, GgmlType.I32: np.int32}


class NodeValues:
    """Reads nodes through their strides. A view is valid during the callback, a copy for good."""

    def __init__(self) -> None:
        """Look up what it calls in the library.

        Raises:
            EngineMissingError: The library lacks a call.
        """
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._is_host = libraries.symbol("ggml_backend_buffer_is_host", ctypes.c_bool, pointer)
        self._get = libraries.symbol("ggml_backend_tensor_get", None, pointer, pointer, size, size)
        self._nbytes = libraries.symbol("ggml_nbytes", size, pointer)

    def in_ram(self, tensor: GraphTensor) -> bool:
        """Return whether a tensor's bytes are in RAM."""
        return bool(tensor.buffer) and bool(self._is_host(tensor.buffer))

    def view(self, address: int) -> NDArray[Any]:
        """Return a tensor as ``[ne3, ne2, ne1, ne0]``: a view where it is in RAM, else a copy.

        Raises:
            EngineError: its type is neither float32 nor int32.
        """
        tensor = tensor_at(address)
        if not self.in_ram(tensor):
            return self.copy(address)
        memory = (ctypes.c_char * self._nbytes(address)).from_address(tensor.data)
        return _as_array(tensor, memory)

    def copy(self, address: int) -> NDArray[Any]:
        """Return a copy of a tensor as ``[ne3, ne2, ne1, ne0]``.

        Raises:
            EngineError: its type is neither float32 nor int32.
        """
        size = self._nbytes(address)
        memory = np.empty(size, np.uint8)
        self._get(address, memory.ctypes.data, 0, size)
        return _as_array(tensor_at(address), memory)


def _as_array(tensor: GraphTensor, memory: Any) -> NDArray[Any]:
    kind = NUMPY_TYPES.get(tensor.type)
    if kind is None:
        raise EngineError(f"values of ggml's type {tensor.type} cannot be read from a graph")
    shape, strides = tuple(reversed(tensor.ne)), tuple(reversed(tensor.nb))
    return np.ndarray(shape, kind, memory, strides=strides)
