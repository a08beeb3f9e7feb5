"""Views of the logits of the last evaluation, in llama.cpp's own memory."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError
from dslocal.gguf import libraries


class LogitViews:
    """Arrays on llama.cpp's own memory, each valid until the next evaluation.

    Making a view takes longer than finding the likeliest token in it, and llama.cpp uses a few
    places only: views are kept.
    """

    def __init__(self, handle: Any, n_vocab: int) -> None:
        """See the logits of the context ``handle``, which must outlive this."""
        self._low = libraries.require()
        self._handle = handle
        self._n_vocab = n_vocab
        self._views: dict[int, NDArray[np.float32]] = {}  # by address
        self._row_views: dict[tuple[int, int], NDArray[np.float32]] = {}  # and number of rows

    def one(self, index: int) -> NDArray[np.float32]:
        """See :meth:`.LlamaContext.logits`."""
        pointer = self._low.llama_get_logits_ith(self._handle, index)
        if not pointer:
            raise EngineError("llama.cpp has no logits there")
        address = ctypes.addressof(pointer.contents)
        view = self._views.get(address)
        if view is None:
            view = np.ctypeslib.as_array((ctypes.c_float * self._n_vocab).from_address(address))
            self._views[address] = view
        return view

    def rows(self, count: int) -> NDArray[np.float32]:
        """See :meth:`.LlamaContext.logit_rows`."""
        pointer = self._low.llama_get_logits(self._handle)
        if not pointer:
            raise EngineError("llama.cpp has no logits there")
        address = ctypes.addressof(pointer.contents)
        view = self._row_views.get((address, count))
        if view is None:
            view = np.ctypeslib.as_array(pointer, (count, self._n_vocab))
            self._row_views[address, count] = view
        return view
