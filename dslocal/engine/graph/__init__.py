"""Look into llama.cpp's graphs while they are computed: nodes, their values, and a callback.

Shared by what sums activations (:mod:`dslocal.engine.activations`) and what reads experts ahead
(:mod:`dslocal.engine.streaming`).
"""

from .eval_callback import EvalCallback, GraphObserver
from .node_filter import NodeSelection
from .node_values import NodeValues

__all__ = ["EvalCallback", "GraphObserver", "NodeSelection", "NodeValues"]
