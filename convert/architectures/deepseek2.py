"""deepseek2: multi-head latent attention and DeepSeekMoE (V2, V2-Lite, Coder-V2, V3, R1, V3.1).

Source of names and keys: llama.cpp, conversion/deepseek.py and src/models/deepseek2.cpp. Two things
differ from its converter on purpose: V3's MTP layer is converted (llama.cpp can run it, its
converter drops it), and a config.json without ``scoring_func`` still means sigmoid for
``DeepseekV3ForCausalLM`` (newer transformers leaves it out; softmax instead gives 60 % wrong
logits).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dslocal.convert.checkpoint.config import Config

from . import common
from .common import (
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    has_tied_embeddings,
    rope_kind,
    rope_metadata,
)
from .mapping import (
    AnyMapping,
    Architecture,
    CheckpointTensors,
    MappedTensor,
    SourceRows,
    TensorMapping,
    Transform,
    map_tensors,
)
from .moe import GATING, MOE, check_routing, dense_layers, moe_dims

# V2-Lite's. llama.cpp takes a model without q_lora_rank for V2-Lite by its number of layers
# (src/models/deepseek2.cpp, load_arch_hparams).
LITE_LAYERS = (26, 27)


def _split_kv_b(name: str, dims: Mapping[str, int]) -> Iterator[MappedTensor]:
    """Yield the two tensors that kv_b_proj is split into.

    Its shape is ``[heads * (nope + v), kv_lora]``. The nope rows of a head, transposed, are
    absorbed into q: attn_k_b ``[heads, kv_lora, nope]``. The v rows make the values: attn_v_b
    ``[heads, v, kv_lora]``.
    """
    heads, rank = dims["heads"], dims["kv_lora"]
    nope, v = dims["nope"], dims["v"]
    starts = [head * (nope + v) for head in range(heads)]
    yield MappedTensor(
        "attn_k_b.weight",
        (heads, rank, nope),
        tuple(SourceRows(name, start, start + nope, Transform.TRANSPOSE) for start in starts),
    )
    yield MappedTensor(
        "attn_v_b.weight",
        (heads, v, rank),
        tuple(SourceRows(name, start + nope, start + nope + v) for start in starts),
    )


BLOCK = (
    *NORMS,
    TensorMapping(
        "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", ("kv_lora+rope", "embd")
    ),
    TensorMapping("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", ("kv_lora",)),
    TensorMapping("self_attn.kv_b_proj.weight", "", ("heads*(nope+v)", "kv_lora"), _split_kv_b),
    TensorMapping("self_attn.o_proj.weight", "attn_output.weight", ("embd", "heads*v")),
)
Q_LORA = (
    TensorMapping("self_attn.q_a_proj.weight", "attn_q_a.weight", ("q_lora", "embd")),
    TensorMapping("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", ("q_lora",)),
    TensorMapping("self_attn.q_b_proj.weight", "attn_q_b.weight", ("heads*(nope+rope)", "q_lora")),
)
Q_FULL = (TensorMapping("self_attn.q_proj.weight", "attn_q.weight", ("heads*(nope+rope)", "embd")),)
ROUTER_BIAS = TensorMapping("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", ("experts",))
NEXTN = (
    TensorMapping("eh_proj.weight", "nextn.eh_proj.weight", ("embd", "2*embd")),
    TensorMapping("enorm.weight", "nextn.enorm.weight", ("embd",)),
    TensorMapping("hnorm.weight", "nextn.hnorm.weight", ("embd",)),
    TensorMapping("shared_head.norm.weight", "nextn.shared_head_norm.weight", ("embd",)),
)
# The MTP layer's own copies of tensors of the trunk, and the trunk's names. A copy is written only
# where it differs: llama.cpp falls back to the trunk's.
NEXTN_COPIES = (
    (
        TensorMapping("embed_tokens.weight", "nextn.embed_tokens.weight", ("vocab", "embd")),
        "model.embed_tokens.weight",
    ),
    (
        TensorMapping(
            "shared_head.head.weight", "nextn.shared_head_head.weight", ("vocab", "embd")
        ),
        "lm_head.weight",
    ),
)


def named_dims(c: Config) -> dict[str, int]:
    """Return the model's dimensions, by the names that shapes are written in.

    Raises:
        CheckpointError: A dimension is missing or impossible.
    """
    heads = c.integer("num_attention_heads")
    nope = c.integer("qk_nope_head_dim")
    rope = c.integer("qk_rope_head_dim")
    v = c.integer("v_head_dim")
    kv_lora = c.integer("kv_lora_rank")
    embd = c.integer("hidden_size")
    return {
        "vocab": c.integer("vocab_size"),
        "embd": embd,
        "2*embd": 2 * embd,
        "ff": c.integer("intermediate_size"),
        "heads": heads,
        "nope": nope,
        "v": v,
        "kv_lora": kv_lora,
        "kv_lora+rope": kv_lora + rope,
        "heads*(nope+rope)": heads * (nope + rope),
        "heads*(nope+v)": heads * (nope + v),
        "heads*v": heads * v,
        "q_lora": c.integer("q_lora_rank", 0, minimum=0),
        **moe_dims(c),
    }


def mtp_layers(c: Config) -> int:
    """Return how many multi-token-prediction layers follow the main ones."""
    return c.integer("num_nextn_predict_layers", 0, minimum=0)


def map_checkpoint(source: CheckpointTensors, mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors, with the MTP layer's where ``mtp`` keeps it.

    Raises:
        CheckpointError: The configuration contradicts itself or the tensors.
    """
    c = source.config
    dims = named_dims(c)
    n_layer, dense = c.integer("num_hidden_layers"), dense_layers(c)
    check_routing(c)
    if mtp_layers(c) > 1:
        raise c.error("num_nextn_predict_layers", "is more than 1; llama.cpp runs one MTP layer")
    attention = BLOCK + (Q_LORA if dims["q_lora"] else Q_FULL)
    head = () if has_tied_embeddings(c) else HEAD
    mapped = list(map_tensors(source, EMBEDDING + head, dims))
    moe: tuple[AnyMapping, ...] = (*MOE, ROUTER_BIAS) if _has_router_bias(source) else MOE
    kept = n_layer + mtp_layers(c) if mtp else n_layer
    for layer in range(kept):
        hf, gguf = f"model.layers.{layer}.", f"blk.{layer}."
        feed_forward = DENSE if layer < dense else moe
        mapped += map_tensors(source, (*attention, *feed_forward), dims, hf, gguf)
        if layer >= n_layer:
            mapped += map_tensors(source, (*NEXTN, *_own_copies(source, hf)), dims, hf, gguf)
    return mapped


def _has_router_bias(source: CheckpointTensors) -> bool:
    """Return whether routers have a bias: config.json says so, or a tensor is there."""
    if source.config.text("topk_method", "") == "noaux_tc":
        return True
    return any(name.endswith(ROUTER_BIAS.hf) for name in source.names)


def _own_copies(source: CheckpointTensors, hf: str) -> Iterator[TensorMapping]:
    """Yield the MTP layer's copies of the trunk's tensors that differ from them."""
    for mapping, trunk in NEXTN_COPIES:
        name = hf + mapping.hf
        if name in source.names and not source.have_same_data(name, trunk):
            yield mapping


def is_ignored(c: Config, mtp: bool, name: str) -> bool:
    """Return whether a tensor is left out on purpose, such as those of an MTP layer not kept."""
    if common.is_ignored(c, mtp, name):
        return True
    n_layer = c.integer("num_hidden_layers")
    if not mtp_layers(c) or not name.startswith(f"model.layers.{n_layer}."):
        return False
    return not mtp or name.endswith(tuple(mapping.hf for mapping, _ in NEXTN_COPIES))


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
    rank = c.integer("kv_lora_rank")
    rope_dim = c.integer("qk_rope_head_dim")
    nope = c.integer("qk_nope_head_dim")
    experts = c.integer("n_routed_experts")
    yield ".context_length", c.integer("max_position_embeddings")
    yield ".embedding_length", c.integer("hidden_size")
    yield ".feed_forward_length", c.integer("intermediate_size")
    yield ".attention.head_count", c.integer("num_attention_heads")
    yield ".attention.head_count_kv", 1
    yield from _rope(c)
    yield ".attention.layer_norm_rms_epsilon", c.number("rms_norm_eps", 1e-6)
    yield ".expert_used_count", c.integer("num_experts_per_tok")
    yield from _expert_groups(c, experts)
    yield ".expert_gating_func", _gating(c)
    yield ".leading_dense_block_count", dense_layers(c)
    yield ".vocab_size", c.integer("vocab_size")
    q_lora = c.integer("q_lora_rank", 0, minimum=0)
    if q_lora:
        yield ".attention.q_lora_rank", q_lora
    yield ".attention.kv_lora_rank", rank
    yield ".attention.key_length", rank + rope_dim
    yield ".attention.value_length", rank
    yield ".attention.key_length_mla", nope + rope_dim
    yield ".attention.value_length_mla", c.integer("v_head_dim")
    yield ".expert_feed_forward_length", c.integer("moe_intermediate_size")
    yield ".expert_count", experts
    yield ".expert_shared_count", c.integer("n_shared_experts")
    yield ".expert_weights_scale", c.number("routed_scaling_factor", 1.0)
    if c.flag("norm_topk_prob", False):
        yield ".expert_weights_norm", True
    yield ".rope.dimension_count", rope_dim


def _gating(c: Config) -> int:
    """Return the number of the router's gating function. Raises CheckpointError."""
    default = "softmax" if c.architecture == "DeepseekV2ForCausalLM" else "sigmoid"
    name = c.text("scoring_func", default)
    if name not in GATING:
        raise c.error("scoring_func", f"is {name!r:.40}; {' or '.join(GATING)} is needed")
    return GATING[name]


def _expert_groups(c: Config, experts: int) -> Iterator[tuple[str, Any]]:
    """Yield the keys of group-limited routing.

    llama.cpp's loader aborts the process on numbers that do not fit, so they are checked here.
    Source: src/llama-model.cpp (``load_hparams``).

    Raises:
        CheckpointError: Groups do not divide the experts, or as many are used as there are.
    """
    if not c.has("n_group"):
        return
    groups, used = c.integer("n_group"), c.integer("topk_group", 1)
    is_uneven = groups > 1 and (experts % groups > 0 or used >= groups)
    if groups >= experts or is_uneven:
        raise c.error(
            "n_group",
            f"is {groups}, with topk_group {used} and {experts} experts, which is not possible",
        )
    yield ".expert_group_count", groups
    yield ".expert_group_used_count", used


def _rope(c: Config) -> Iterator[tuple[str, Any]]:
    """Yield the keys of rope, with YaRN's factor of the attention. Raises CheckpointError."""
    yield from rope_metadata(c, ("yarn",))
    if rope_kind(c) == "yarn" and c.rope.has("mscale_all_dim"):
        mscale = c.rope.number("mscale_all_dim")
        if c.rope.number("mscale", mscale) != mscale:
            raise c.error(
                "rope_scaling",
                "has an mscale other than mscale_all_dim; llama.cpp needs them to be equal",
            )
        yield ".rope.scaling.yarn_log_multiplier", 0.1 * mscale


def warnings(c: Config) -> Iterable[str]:
    """Yield how llama.cpp will differ from the vendor's own code, or refuse the file."""
    if c.text("topk_method", "") == "group_limited_greedy":
        yield (
            "V2 ranks groups of experts by their best expert, llama.cpp by the sum of the best "
            "two: some answers will differ"
        )
    has_q_lora = c.integer("q_lora_rank", 0, minimum=0) > 0
    if not has_q_lora and c.integer("num_hidden_layers") not in LITE_LAYERS:
        yield (
            "llama.cpp loads a deepseek2 model without q_lora_rank only when it has "
            "26 or 27 layers (V2-Lite)"
        )


DEEPSEEK2 = Architecture(
    arch="deepseek2",
    accepts=("DeepseekV3ForCausalLM", "DeepseekV2ForCausalLM"),
    models="V2, V2-Lite, V2.5, Coder-V2, Prover-V2, V3, V3-0324, R1, R1-Zero, R1-0528, V3.1",
    metadata=metadata,
    tensors=map_checkpoint,
    is_ignored=is_ignored,
    mtp_layers=mtp_layers,
    warnings=warnings,
)
