"""The parts that all graphs are built of: inputs, normalisation, products with weights.

Source: llama.cpp, src/llama-graph.cpp, ``llm_graph_context``.
"""

from __future__ import annotations

from collections.abc import Mapping

from dslocal.plan.load_config import GpuKind
from dslocal.plan.memory.model_shape import ModelShape

from .allocator import Graph, Node
from .micro_batch import (
    GPU_ALIGNMENT,
    HOST_ALIGNMENT,
    HostResident,
    LayerKind,
    MicroBatch,
)

# A quantized cache rotates heads whose length is a multiple of this. Source: the constructor of
# llama_kv_cache, attn_rot_k and attn_rot_v (src/llama-kv-cache.cpp).
ROTATION = 64


class GraphContext:
    """A graph that is being built for one micro-batch.

    Attributes:
        shape: the model's shape.
        batch: the micro-batch.
        gpu: the kind of device that computes all but the embeddings; None for the CPU.
        graph: what has been built so far.
        layer: the kind of the layer that is being built.
    """

    def __init__(self, shape: ModelShape, batch: MicroBatch, gpu: GpuKind | None = None) -> None:
        """Start a graph with its inputs.

        Source: src/llama-graph.cpp, ``build_inp_pos``, ``build_inp_out_ids``,
        ``build_attn_inp_kq_mask``, ``build_attn_inp_kv`` and ``build_attn_inp_k``.
        """
        self.shape = shape
        self.batch = batch
        self.gpu = gpu
        self.graph = Graph(GPU_ALIGNMENT if gpu else HOST_ALIGNMENT)
        self.layer = LayerKind(is_moe=False)
        self._weight_sizes: Mapping[str, int] = {}
        n_tokens = batch.n_tokens
        # Without flash attention values are stored transposed, element by element.
        value_rows = n_tokens if batch.flash_attn else n_tokens * shape.n_embd_v_gqa
        self.inp_tokens = self.graph.input(n_tokens)
        self.inp_pos = self.graph.input(n_tokens)
        self.inp_out_ids = self.graph.input(batch.n_outputs)
        self.kq_mask = self.graph.input(batch.n_kv, n_tokens, width=2 if batch.flash_attn else 4)
        self.k_idxs = self.graph.input(n_tokens, width=8)
        # of V3.2's indexer, whose scores are computed in one operation, with a mask in F16
        self.indexer_k_idxs = self.graph.input(n_tokens, width=8)
        self.indexer_mask = self.graph.input(batch.n_kv, n_tokens, width=2)
        self.indexer_rotation = self.graph.input(two_power(shape.indexer_head_size) ** 2)
        self.v_idxs = self.graph.input(value_rows, width=8)
        self.k_rot = self._build_input_k_rot()
        self.v_rot = self._build_input_v_rot()

    def enter_layer(self, layer: LayerKind, host: HostResident) -> None:
        """Begin a layer: weights of it that are in ``host`` are copied to the GPU as needed.

        Source: ggml/src/ggml-backend.cpp, ``ggml_backend_sched_split_graph``, for operations that
        ``ggml_backend_sched_backend_id_from_cur`` offloads.
        """
        self.layer = layer
        self._weight_sizes = {
            name: size
            for name, size in host.weight_sizes
            if layer.in_ram or (layer.experts_in_ram and "exps" in name)
        }

    def keep_weights_in_ram(self) -> None:
        """From here on compute with weights where they are: the batch is too small to copy them."""
        self._weight_sizes = {}

    def build_inp_embd(self) -> Node:
        """Return the embeddings of the tokens.

        The input for embeddings that are given instead of ids is unused, but has its place.
        Source: src/llama-graph.cpp, ``build_inp_embd``.
        """
        n_embd, n_tokens = self.shape.n_embd, self.batch.n_tokens
        embeddings = self.graph.op((n_embd, n_tokens), self.inp_tokens)
        self.graph.build_forward_expand(embeddings, self.graph.input(n_embd, n_tokens))
        return embeddings

    def build_norm(self, cur: Node, shape: tuple[int, ...], weight: str = "") -> Node:
        """Return ``cur`` normalised and scaled. Source: src/llama-graph.cpp, ``build_norm``.

        Args:
            cur: what is normalised.
            shape: its dimensions.
            weight: the name of the scale inside a layer; empty outside of layers.
        """
        scale = self._weight_copy(weight)
        normalised = self.graph.op(shape, cur, inplace=True)
        return self.graph.op(shape, normalised, *scale, inplace=True)

    def build_lora_mm(self, weight: str, shape: tuple[int, ...], *sources: Node) -> Node:
        """Return the product of a weight and ``sources``, copied to the GPU if it is not there.

        Source: src/llama-graph.cpp, ``build_lora_mm`` and ``build_lora_mm_id``.
        """
        return self.graph.op(shape, *sources, *self._weight_copy(weight))

    def build_ffn(self, cur: Node, n_ff: int, n_rows: int, suffix: str = "") -> Node:
        """Return a gated feed-forward part. Source: src/llama-graph.cpp, ``build_ffn``.

        Args:
            cur: what goes in.
            n_ff: its width.
            n_rows: tokens that go through it.
            suffix: of the names of its weights, such as "_shexp" for the shared experts.
        """
        up = self.build_lora_mm(f"ffn_up{suffix}", (n_ff, n_rows), cur)
        gate = self.build_lora_mm(f"ffn_gate{suffix}", (n_ff, n_rows), cur)
        activated = self.graph.op((n_ff, n_rows), gate, up)
        return self.build_lora_mm(f"ffn_down{suffix}", (self.shape.n_embd, n_rows), activated)

    def _weight_copy(self, name: str) -> tuple[Node, ...]:
        """Return the copy of a weight on the GPU; nothing where it is there already."""
        size = self._weight_sizes.get(name, 0)
        return (self.graph.op((size,), width=1),) if size else ()

    def _build_input_k_rot(self) -> Node | None:
        """Return the matrix that keys are rotated with before they are quantized, if they are.

        It is as large as the largest power of two that divides a head. Source:
        src/llama-kv-cache.cpp, ``build_input_k_rot``.
        """
        n_embd_head_k = self.shape.n_embd_head_k
        if not self._rotates(n_embd_head_k):
            return None
        return self.graph.input(two_power(n_embd_head_k) ** 2)

    def _build_input_v_rot(self) -> Node | None:
        """Return the matrix that values are rotated with before they are quantized, if they are.

        Source: src/llama-kv-cache.cpp, ``build_input_v_rot``.
        """
        if not self._rotates(self.shape.n_embd_head_v):
            return None
        return self.graph.input(ROTATION * ROTATION)

    def _rotates(self, n_embd_head: int) -> bool:
        is_quantized = self.batch.kv_type.block > 1
        return is_quantized and not self.shape.is_mla and n_embd_head % ROTATION == 0


def two_power(number: int) -> int:
    """Return the largest power of two that divides ``number``."""
    return number & -number
