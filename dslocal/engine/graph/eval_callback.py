"""Call Python from llama.cpp's ``cb_eval``, so that no exception passes through C.

The scheduler asks the callback about each node of a graph, computes up to the first node that is
wanted, and calls it again with that node. Source: llama.cpp, ggml/src/ggml-backend.cpp,
``ggml_backend_sched_compute_splits``. A callback that wants no node still costs one call for each
node, which :mod:`.node_filter` answers in C where an observer says what it may want.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from typing import Any

from dslocal.engine.interrupt import AbortFlag
from dslocal.errors import DslocalError, EngineError
from dslocal.gguf import libraries

from .graph_tensor import require_layout
from .node_filter import NodeFilter, NodeSelection, load_library


class GraphObserver(ABC):
    """Sees the nodes of a graph. What its methods raise ends the evaluation and is raised there.

    A node is given by the address of its ``ggml_tensor``, which is valid during the call.

    Attributes:
        selection: The nodes that may be wanted; None for all. It may not be asked about others.
    """

    selection: NodeSelection | None = None

    @abstractmethod
    def wants(self, address: int) -> bool:
        """Return whether the graph is to pause after a node, which is not computed yet.

        Called for each node in the order of computation, before the piece of the graph that ends
        with the next wanted node is computed.
        """

    @abstractmethod
    def take(self, address: int) -> None:
        """Look at a wanted node, which has just been computed."""


class EvalCallback:
    """Calls an observer; to be given to a :class:`.LlamaContext`, and to live as long as that.

    Attributes:
        observer: What sees the nodes.
        function: llama.cpp's ``cb_eval``.
        data: Its ``cb_eval_user_data``.
    """

    def __init__(self, observer: GraphObserver) -> None:
        """Call ``observer`` for each node.

        Raises:
            EngineMissingError: The loaded library is not the one that dslocal knows.
        """
        require_layout()
        self.observer = observer
        self._failure: BaseException | None = None
        self._abort: AbortFlag | None = None
        self._has_aborted = False
        self.function: Any = libraries.require().ggml_backend_sched_eval_callback(self._on_node)
        self.data: ctypes.c_void_p | None = None
        library = load_library() if observer.selection else None
        if library is not None and observer.selection is not None:
            self._filter = NodeFilter(library, observer.selection, self.function)
            self._python_function = self.function  # the filter calls it
            self.function, self.data = self._filter.function, self._filter.data

    def attach(self, abort: AbortFlag) -> None:
        """Have a failure of the observer end the evaluation by ``abort``, the context's flag."""
        self._abort = abort

    def raise_failure(self) -> None:
        """Raise what the observer raised during the last evaluation, if anything.

        Raises:
            DslocalError: as the observer raised it.
            KeyboardInterrupt: as a signal handler raised it meanwhile.
            EngineError: for any other exception, which is a fault of ours.
        """
        failure, self._failure = self._failure, None
        if failure is None:
            return
        if self._abort is not None and self._has_aborted:
            self._abort.clear()
        self._has_aborted = False
        if isinstance(failure, DslocalError) or not isinstance(failure, Exception):
            raise failure
        raise EngineError(
            f"reading llama.cpp's graph failed: {type(failure).__name__}: {failure}"
        ) from failure

    def _on_node(self, address: int, asks: bool, _: Any) -> bool:
        """Say whether a node is wanted, or take it; False then ends this part of the graph."""
        if self._failure is not None:
            return asks
        try:
            if asks:
                return self.observer.wants(address)
            self.observer.take(address)
        except BaseException as e:  # ctypes would print it and continue
            self._failure = e
            if self._abort is not None and not self._abort.is_set():
                self._abort.set_at_once()
                self._has_aborted = True
            return asks
        return True
