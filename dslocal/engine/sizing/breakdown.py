"""llama.cpp's own account of a context's memory, by buffer type: ``llama_get_memory_breakdown``.

The call is C++ (src/llama-ext.h) and returns a ``std::map`` by value, which has no binding. The map
is read as the two common standard libraries lay it out. A wrong guess would crash the process, so
this is for child processes alone.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dslocal.gguf import libraries

_CALL = "_Z26llama_get_memory_breakdownPK13llama_context"
_CPU_DEVICE = 0  # enum ggml_backend_dev_type of ggml-backend.h
_WORD = ctypes.sizeof(ctypes.c_void_p)
# In which word a map keeps its root, and a node its children: libc++ on macOS, libstdc++ elsewhere.
_IS_LIBCXX = sys.platform == "darwin"
_ROOT = 1 if _IS_LIBCXX else 2
_LEFT = 0 if _IS_LIBCXX else 2
_RIGHT = 1 if _IS_LIBCXX else 3
_KEY = 4  # a node's key, in both; three sizes follow it


class _Map(ctypes.Structure):
    """A std::map: 24 bytes in libc++, 48 in libstdc++; this has room for either."""

    _fields_ = (("words", ctypes.c_void_p * 6),)


@dataclass(frozen=True, slots=True)
class BufferSizes:
    """Bytes in the buffers of one type.

    Attributes:
        name: The buffer type, such as ``CPU``.
        on_gpu: Whether they take a GPU's memory.
        model: Weights.
        context: KV cache.
        compute: What a graph needs while it is computed.
    """

    name: str
    on_gpu: bool
    model: int
    context: int
    compute: int


def memory_breakdown(context: Any) -> list[BufferSizes]:
    """Return the sizes of a llama.cpp context and its model, without the output buffer."""
    call = libraries.symbol(_CALL, _Map, ctypes.c_void_p)
    found = call(context)
    return [_buffer_sizes(node) for node in _nodes(found.words[_ROOT])]


def _nodes(node: int | None) -> Iterator[int]:
    """Yield the addresses of a tree's nodes in the order of their keys."""
    if node:
        yield from _nodes(_word(node, _LEFT))
        yield node
        yield from _nodes(_word(node, _RIGHT))


def _word(node: int, index: int) -> int:
    return ctypes.c_size_t.from_address(node + index * _WORD).value


def _buffer_sizes(node: int) -> BufferSizes:
    buffer_type = _word(node, _KEY)
    get_name = libraries.symbol("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)
    return BufferSizes(
        name=get_name(buffer_type).decode("utf-8", "replace"),
        on_gpu=not _is_in_ram(buffer_type),
        model=_word(node, _KEY + 1),
        context=_word(node, _KEY + 2),
        compute=_word(node, _KEY + 3),
    )


def _is_in_ram(buffer_type: int) -> bool:
    """Return whether buffers of a type take RAM; a GPU's driver may have pinned it."""
    is_host = libraries.symbol("ggml_backend_buft_is_host", ctypes.c_bool, ctypes.c_void_p)
    if is_host(buffer_type):
        return True
    get_device = libraries.symbol("ggml_backend_buft_get_device", ctypes.c_void_p, ctypes.c_void_p)
    device = get_device(buffer_type)
    if not device:
        return True
    get_kind = libraries.symbol("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    return bool(get_kind(device) == _CPU_DEVICE)
