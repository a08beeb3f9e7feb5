"""Where llama.cpp has the tensors of a model's experts: in mapped memory, or elsewhere."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from dslocal.engine.graph.graph_tensor import GraphTensor
from dslocal.gguf import libraries

from .expert_layout import ExpertLayout, ExpertTensor, Extent

MAPPED = b"_Mapped"  # ends the names of buffers in mapped memory


class TensorPlaces:
    """Finds the tensors of experts in memory, as the graph comes to their weights.

    A tensor is seen once the graph multiplies with it. The other tensors of a buffer are found with
    the first of its weights, so that their experts can be read before the graph comes to them.
    """

    def __init__(self, layout: ExpertLayout, on_found: Callable[[ExpertTensor, int], None]) -> None:
        """Know of no tensor yet.

        Args:
            layout: The model's experts.
            on_found: Is called with each tensor that is found in mapped memory, and its address.
        """
        self._tensors = [tensor for layer in layout.layers.values() for tensor in layer]
        self._on_found = on_found
        self._seen: set[str] = set()
        self._addresses: dict[str, int] = {}  # of all that are found
        self._elsewhere: set[str] = set()  # seen, but not in mapped memory: on a GPU, for example
        pointer = ctypes.c_void_p
        self._buffer_name = libraries.symbol("ggml_backend_buffer_name", ctypes.c_char_p, pointer)
        self._buffer_base = libraries.symbol("ggml_backend_buffer_get_base", pointer, pointer)
        self._buffer_size = libraries.symbol(
            "ggml_backend_buffer_get_size", ctypes.c_size_t, pointer
        )

    def is_seen(self, tensor: ExpertTensor) -> bool:
        """Return whether the graph has multiplied with a tensor in mapped memory."""
        return tensor.name in self._seen

    def is_elsewhere(self, tensor: ExpertTensor) -> bool:
        """Return whether a tensor turned out not to be in mapped memory."""
        return tensor.name in self._elsewhere

    def is_mapped(self, tensor: ExpertTensor) -> bool:
        """Return whether it is known where a tensor is mapped."""
        return tensor.name in self._addresses and not self.is_elsewhere(tensor)

    def note(self, tensor: ExpertTensor, weight: GraphTensor) -> bool:
        """Take note of where the graph has a tensor; return whether that is in mapped memory."""
        is_expected = self._addresses.get(tensor.name, weight.data) == weight.data
        if not self._is_mapped(weight) or not is_expected:
            self._elsewhere.add(tensor.name)
            return False
        self._seen.add(tensor.name)
        self._find_all(tensor.extent(0), weight)
        return True

    def note_neighbour(self, piece: Extent, weight: GraphTensor) -> None:
        """Find the experts that are mapped with another weight, if that is in mapped memory.

        Args:
            piece: Where the file has the weight.
            weight: The weight.
        """
        if self._is_mapped(weight):
            self._find_all(piece, weight)

    def _is_mapped(self, weight: GraphTensor) -> bool:
        name = self._buffer_name(weight.buffer) if weight.buffer else b""
        return (name or b"").endswith(MAPPED)

    def _find_all(self, piece: Extent, weight: GraphTensor) -> None:
        """Find all experts in a weight's buffer, which is a piece of its file's mapping.

        Args:
            piece: Where the file has the weight.
            weight: The weight, in mapped memory.
        """
        begin = self._buffer_base(weight.buffer)
        end = begin + self._buffer_size(weight.buffer)
        for tensor in self._tensors:
            address = weight.data + tensor.start - piece.start
            is_inside = begin <= address and address + tensor.nbytes <= end
            if tensor.file == piece.file and is_inside and tensor.name not in self._addresses:
                self._addresses[tensor.name] = address
                self._on_found(tensor, address)
