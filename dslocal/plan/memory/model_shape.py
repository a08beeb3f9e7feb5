"""A model's shape: the numbers that its memory depends on, named as llama.cpp names them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers of a model that its memory depends on.

    Names are those of ``llama_hparams`` (llama.cpp, src/llama-hparams.h). ``has_…`` say which
    weights the file has.

    Attributes:
        architecture: the file's ``general.architecture``.
        n_layer: layers of the model proper, without those for multi-token prediction (MTP).
        n_layer_nextn: MTP layers, which come after them.
        n_layer_dense_lead: leading layers without experts.
        n_embd: width of the residual stream.
        n_vocab: tokens of the vocabulary.
        n_head: heads of queries.
        n_head_kv: heads of keys and values.
        n_embd_head_k: length of a head's key as it is computed.
        n_embd_head_v: length of a head's value as it is computed.
        n_rot: dimensions of a head that are rotated.
        n_lora_q: width of the compressed queries, 0 where they are not compressed.
        n_lora_kv: width of MLA's compressed keys and values, 0 without MLA.
        is_mla: whether the compressed keys are cached and serve as values too.
        n_embd_k_gqa: elements of the cache's keys a token and layer.
        n_embd_v_gqa: elements of the cache's values a token and layer, 0 where keys serve as such.
        n_ff: width of a dense layer's feed-forward part.
        n_ff_exp: width of one routed expert.
        n_ff_shexp: width of all shared experts together.
        n_expert: routed experts of a layer.
        n_expert_used: routed experts that a token uses.
        n_expert_groups: groups of experts, of which the best are chosen first.
        n_group_used: groups of experts that a token may use.
        expert_weights_norm: whether the weights of the experts in use are made to sum to 1.
        expert_weights_scale: the factor on these weights; 0 for none.
        has_exp_probs_b: whether a bias is added for the choice of experts.
        has_qkv_bias: whether queries, keys and values have a bias.
        has_qk_norm: whether heads of queries and keys are normalised.
        has_gate_up_exps: whether the experts' gate and up projections are one tensor.
        n_indexer_head: heads of the indexer that chooses what is attended to; 0 without one.
        indexer_head_size: length of the indexer's keys, which have a cache of their own.
        indexer_top_k: keys that the indexer chooses.
        n_swa: tokens of the window that V4 attends to one by one.
        compress_ratios: tokens that V4 makes one key of, by layer; 0 for a layer that attends to
            the window alone. Empty elsewhere.
        n_hc: streams of V4's hyper-connections; 1 elsewhere.
        n_hash_layer: leading layers whose experts V4 chooses by token id.
        n_groups_o: groups of heads that V4's output projection takes apart; 0 elsewhere.
        n_lora_o: width of what each group gives.
        dspark_layers: blocks like V4's layers that DSpark, V4's draft model, consists of; 0 where
            it was not joined to the header.
        dspark_targets: the layers whose input it reads; the number of layers stands for what
            leaves the last one.
        dspark_block: tokens that it drafts at a time.
        n_tensors: tensors of the file, or of all its parts.
    """

    architecture: str
    n_layer: int
    n_layer_nextn: int
    n_layer_dense_lead: int
    n_embd: int
    n_vocab: int
    n_head: int
    n_head_kv: int
    n_embd_head_k: int
    n_embd_head_v: int
    n_rot: int
    n_lora_q: int
    n_lora_kv: int
    is_mla: bool
    n_embd_k_gqa: int
    n_embd_v_gqa: int
    n_ff: int
    n_ff_exp: int
    n_ff_shexp: int
    n_expert: int
    n_expert_used: int
    n_expert_groups: int
    n_group_used: int
    expert_weights_norm: bool
    expert_weights_scale: float
    has_exp_probs_b: bool
    has_qkv_bias: bool
    has_qk_norm: bool
    has_gate_up_exps: bool
    n_indexer_head: int = 0
    indexer_head_size: int = 0
    indexer_top_k: int = 0
    n_swa: int = 0
    compress_ratios: tuple[int, ...] = ()
    n_hc: int = 1
    n_hash_layer: int = 0
    n_groups_o: int = 0
    n_lora_o: int = 0
    dspark_layers: int = 0
    dspark_targets: tuple[int, ...] = ()
    dspark_block: int = 0
    n_tensors: int = 0

    @property
    def n_layer_all(self) -> int:
        """Return the number of layers, those for multi-token prediction included."""
        return self.n_layer + self.n_layer_nextn

    @property
    def kind(self) -> str:
        """Return the kind of attention: "CSA", "MLA", "MHA", "GQA" or "MQA".

        CSA is V4's compressed sparse attention.
        """
        if self.compress_ratios:
            return "CSA"
        if self.is_mla:
            return "MLA"
        if self.n_head_kv == self.n_head:
            return "MHA"
        return "MQA" if self.n_head_kv == 1 else "GQA"
