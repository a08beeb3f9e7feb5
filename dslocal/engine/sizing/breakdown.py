"""llama.cpp's own account of a context's memory, by buffer type.

It comes from ``llama_get_memory_breakdown`` (llama.cpp, src/llama-ext.h), which is C++ and returns
a ``std::map`` by value. ctypes cannot bind that; the map is read as the two common standard
libraries lay it out. A wrong guess would crash the process, so this is for child processes alone.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dslocal.gguf import libraries

_CALL = "_Z26llama_get_memory_breakdownPK13llama_context"
_CPU_DEVICE = 0  # enum ggml_backend_dev_type
_POINTER = ctypes.sizeof(ctypes.c_void_p)


class _MapLayout(NamedTuple):
    """Which word of a map is its root, and which words of a node its children."""

    root: int
    left: int
    right: int


_LAYOUT = _MapLayout(1, 0, 1) if sys.platform == "darwin" else _MapLayout(2, 2, 3)
_VALUE = 4  # the word of a node with which its key and value begin, in both libraries


class _Map(ctypes.Structure):
    """std::map: 48 bytes in libstdc++, 24 in libc++; large enough for either."""

    _fields_ = (("words", ctypes.c_void_p * 6),)


@dataclass(frozen=True, slots=True)
class BufferSizes:
    """Bytes in buffers of one type.

    Attributes:
        name: the type's name.
        on_gpu: whether they are on a GPU.
        model: bytes of weights.
        context: bytes of the KV cache.
        compute: bytes for intermediate results.
    """

    name: str
    on_gpu: bool
    model: int
    context: int
    compute: int


def memory_breakdown(context: Any) -> list[BufferSizes]:
    """Return the buffers of a context and its model. The output buffer is not among them."""
    call = libraries.symbol(_CALL, _Map, ctypes.c_void_p)
    found = call(context)
    return [_buffer_sizes(node) for node in _nodes(found.words[_LAYOUT.root])]


def _nodes(node: int | None) -> Iterator[int]:
    """Yield the addresses of the nodes of a subtree, in order."""
    if node:
        yield from _nodes(_word(node, _LAYOUT.left))
        yield node
        yield from _nodes(_word(node, _LAYOUT.right))


def _word(node: int, index: int) -> int:
    return ctypes.c_size_t.from_address(node + index * _POINTER).value


def _buffer_sizes(node: int) -> BufferSizes:
    buffer_type = _word(node, _VALUE)
    get_name = libraries.symbol("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)
    return BufferSizes(
        name=get_name(buffer_type).decode("utf-8", "replace"),
        on_gpu=not _is_in_ram(buffer_type),
        model=_word(node, _VALUE + 1),
        context=_word(node, _VALUE + 2),
        compute=_word(node, _VALUE + 3),
    )


def _is_in_ram(buffer_type: int) -> bool:
    """Return whether buffers of a type are in RAM, pinned for transfers by a driver or not."""
    is_host = libraries.symbol("ggml_backend_buft_is_host", ctypes.c_bool, ctypes.c_void_p)
    if is_host(buffer_type):
        return True
    get_device = libraries.symbol("ggml_backend_buft_get_device", ctypes.c_void_p, ctypes.c_void_p)
    device = get_device(buffer_type)
    if not device:
        return True
    get_type = libraries.symbol("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    return bool(get_type(device) == _CPU_DEVICE)
