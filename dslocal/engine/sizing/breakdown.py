"""llama.cpp's own account of a context's memory, by buffer type: ``llama_get_memory_breakdown``.

It is C++ and returns a ``std::map`` by value, which has no binding; the map is read as the two
common standard libraries lay it out. A wrong guess would crash the process, so this is for child
processes alone. Source: src/llama-ext.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dslocal.gguf import libraries

_CALL = "_Z26llama_get_memory_breakdownPK13llama_context"
_CPU_DEVICE = 0  # enum ggml_backend_dev_type
_POINTER = ctypes.sizeof(ctypes.c_void_p)
# where a std::map keeps its root, and a node its left and right child; the value comes after four
# words in both
_ROOT, _LEFT, _RIGHT = (1, 0, 1) if sys.platform == "darwin" else (2, 2, 3)
_VALUE = 4


class _Map(ctypes.Structure):
    """std::map: 48 bytes in libstdc++, 24 in libc++; large enough for either."""

    _fields_ = (("words", ctypes.c_void_p * 6),)


@dataclass(frozen=True, slots=True)
class BufferSizes:
    """Bytes in buffers of one type."""

    name: str
    on_gpu: bool
    model: int
    context: int
    compute: int


def memory_breakdown(context: Any) -> list[BufferSizes]:
    """Of a context's model and its own buffers. The output buffer is not among them."""
    call = libraries.symbol(_CALL, _Map, ctypes.c_void_p)
    found = call(context)
    return [_buffer(node) for node in _nodes(found.words[_ROOT])]


def _nodes(node: int | None) -> Iterator[int]:
    if node:
        yield from _nodes(_word(node, _LEFT))
        yield node
        yield from _nodes(_word(node, _RIGHT))


def _word(node: int, index: int) -> int:
    return ctypes.c_size_t.from_address(node + index * _POINTER).value


def _buffer(node: int) -> BufferSizes:
    kind = _word(node, _VALUE)
    name = libraries.symbol("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)(kind)
    sizes = [_word(node, _VALUE + 1 + i) for i in range(3)]
    return BufferSizes(name.decode("utf-8", "replace"), not _in_ram(kind), *sizes)


def _in_ram(kind: int) -> bool:
    """Also true of memory that a GPU's driver pins for transfers."""
    if libraries.symbol("ggml_backend_buft_is_host", ctypes.c_bool, ctypes.c_void_p)(kind):
        return True
    device = libraries.symbol("ggml_backend_buft_get_device", ctypes.c_void_p, ctypes.c_void_p)(
        kind
    )
    return (
        not device
        or libraries.symbol("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(device)
        == _CPU_DEVICE
    )
