"""Answer llama.cpp in C about nodes of a graph that nobody wants (``node_filter.c``).

It is compiled when dslocal is installed. Where it was not, Python is asked about every node, which
only takes longer; ``dslocal doctor`` says so.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .graph_tensor import NAME_OFFSET, OP_OFFSET

LIBRARY = Path(__file__).with_name("libnode_filter.so")
INTERFACE = 1  # as node_filter_interface returns it


@dataclass(frozen=True)
class NodeSelection:
    """The nodes that an observer may want.

    Attributes:
        operation: Those with this operation, by ggml's number.
        names: And those whose names begin with one of these.
    """

    operation: int
    names: tuple[bytes, ...]


class _Selection(ctypes.Structure):
    """``struct selection`` of node_filter.c."""

    _fields_ = (
        ("callback", ctypes.c_void_p),
        ("operation", ctypes.c_int32),
        ("n_names", ctypes.c_int32),
        ("names", ctypes.POINTER(ctypes.c_char_p)),
        ("operation_offset", ctypes.c_int64),
        ("name_offset", ctypes.c_int64),
    )


class NodeFilter:
    """A ``cb_eval`` that calls another one for selected nodes only; to live as long as its context.

    Attributes:
        function: llama.cpp's ``cb_eval``.
        data: Its ``cb_eval_user_data``.
    """

    def __init__(self, library: ctypes.CDLL, selection: NodeSelection, callback: Any) -> None:
        """Filter for ``callback``, a function pointer of the type of ``cb_eval``."""
        self._names = (ctypes.c_char_p * len(selection.names))(*selection.names)
        self._selection = _Selection(
            callback=ctypes.cast(callback, ctypes.c_void_p),
            operation=selection.operation,
            n_names=len(selection.names),
            names=self._names,
            operation_offset=OP_OFFSET,
            name_offset=NAME_OFFSET,
        )
        self.function: Any = ctypes.cast(library.node_filter_ask, type(callback))
        self.data = ctypes.cast(ctypes.byref(self._selection), ctypes.c_void_p)


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """Return the compiled filter; None where there is none of this version."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        is_known = library.node_filter_interface() == INTERFACE
    except (OSError, AttributeError):
        return None
    return library if is_known else None
