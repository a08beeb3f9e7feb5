"""What llama.cpp keeps of its graphs besides the buffers for their results.

A context has room for the nodes of three graphs, whether they are used or not: the last one that
gives logits, the last one that gives none, and the one that buffers are reserved with. The
scheduler's tables have as many entries. That room follows from the number of a model's tensors.
Source: llama.cpp, src/llama-context.cpp, ``llama_context::graph_max_nodes``, and
src/llama-graph.cpp, ``llm_graph_result::reset``.
"""

from __future__ import annotations

from dslocal.plan.memory.model_shape import ModelShape

MIN_NODES = 1024
NODES_PER_TENSOR = 8
V4_NODES_PER_TENSOR = 32
V4_NODES_PER_TOKEN = 40
# Three graphs take 1,350 bytes, the scheduler the rest: measured on 2026-12-02 with models of 100
# to 2,952 tensors, as the private memory of a process whose layers are all on RPC workers. The
# nodes of V4 follow from llama.cpp's source and were not measured.
BYTES_PER_NODE = 1650


def graph_bytes(shape: ModelShape, n_tokens: int) -> int:
    """Return the bytes that one context keeps of its graphs.

    Args:
        shape: the model's shape.
        n_tokens: tokens of its largest micro-batch.
    """
    return BYTES_PER_NODE * _max_nodes(shape, n_tokens)


def _max_nodes(shape: ModelShape, n_tokens: int) -> int:
    if shape.architecture == "deepseek4":
        return max(V4_NODES_PER_TOKEN * n_tokens, V4_NODES_PER_TENSOR * shape.n_tensors)
    return max(MIN_NODES, NODES_PER_TENSOR * shape.n_tensors)
