"""deepseek2: multi-head latent attention and DeepSeekMoE (V2, V2-Lite, Coder-V2, V3, R1, V3.1),
with V3's MTP block kept.

Source of names and keys: llama.cpp, conversion/deepseek.py and src/models/deepseek2.cpp. Two things
differ from its converter on purpose: the MTP layer is converted (llama.cpp can run it, its
converter drops it), and a config.json without ``scoring_func`` still means sigmoid for
``DeepseekV3ForCausalLM`` (newer transformers leaves it out; softmax instead gives 60 % wrong
logits).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config

from .common import (
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    is_unused,
    rope_kind,
    rope_metadata,
)
from .mapping import (
    Architecture,
    MappedTensor,
    SourceRows,
    TensorMapping,
    Transform,
    map_tensors,
    reject_unmapped,
)
from .moe import GATING, MOE, check_routing, moe_dims


def _split_kv_b(name: str, dims: Mapping[str, int]) -> Iterator[MappedTensor]:
    """kv_b_proj is [head, nope + v, kv_lora]: the nope rows of a head, transposed, absorb into q;
    the v rows make values.
    """
    heads, nope, v, rank = dims["heads"], dims["nope"], dims["v"], dims["kv_lora"]
    tops = [h * (nope + v) for h in range(heads)]
    yield MappedTensor(
        "attn_k_b.weight",
        (heads, rank, nope),
        tuple(SourceRows(name, top, top + nope, Transform.TRANSPOSE) for top in tops),
    )
    yield MappedTensor(
        "attn_v_b.weight",
        (heads, v, rank),
        tuple(SourceRows(name, top + nope, top + nope + v) for top in tops),
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
ROUTER_BIAS = (TensorMapping("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", ("experts",)),)
NEXTN = (
    TensorMapping("eh_proj.weight", "nextn.eh_proj.weight", ("embd", "2*embd")),
    TensorMapping("enorm.weight", "nextn.enorm.weight", ("embd",)),
    TensorMapping("hnorm.weight", "nextn.hnorm.weight", ("embd",)),
    TensorMapping("shared_head.norm.weight", "nextn.shared_head_norm.weight", ("embd",)),
)
# the MTP layer's own copies, written only where they differ from the trunk's: llama.cpp falls back
# to those
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


def dims(c: Config) -> dict[str, int]:
    heads, nope, rope = (
        c.integer("num_attention_heads"),
        c.integer("qk_nope_head_dim"),
        c.integer("qk_rope_head_dim"),
    )
    v, rank, embd = c.integer("v_head_dim"), c.integer("kv_lora_rank"), c.integer("hidden_size")
    return {
        **{
            "vocab": c.integer("vocab_size"),
            "embd": embd,
            "2*embd": 2 * embd,
            "ff": c.integer("intermediate_size"),
        },
        **{"heads": heads, "nope": nope, "v": v, "kv_lora": rank, "kv_lora+rope": rank + rope},
        **{
            "heads*(nope+rope)": heads * (nope + rope),
            "heads*(nope+v)": heads * (nope + v),
            "heads*v": heads * v,
        },
        **{"q_lora": c.integer("q_lora_rank", 0, least=0), **moe_dims(c)},
    }


def extra_layers(c: Config) -> int:
    return c.integer("num_nextn_predict_layers", 0, least=0)


def tensors(checkpoint: Checkpoint, mtp: bool) -> list[MappedTensor]:
    c, d = checkpoint.config, dims(checkpoint.config)
    n_layer, dense = c.integer("num_hidden_layers"), c.integer("first_k_dense_replace", 0, least=0)
    check_routing(c)
    if extra_layers(c) > 1:
        raise c.fail("num_nextn_predict_layers", "is more than 1; llama.cpp runs one MTP layer")
    attention = BLOCK + (Q_LORA if d["q_lora"] else Q_FULL)
    tied = c.flag("tie_word_embeddings", False)
    mapped = list(map_tensors(checkpoint, EMBEDDING + (() if tied else HEAD), d))
    biased = c.text("topk_method", "") == "noaux_tc" or any(
        name.endswith(ROUTER_BIAS[0].hf) for name in checkpoint.tensors
    )
    moe = MOE + (ROUTER_BIAS if biased else ())
    for layer in range(n_layer + (extra_layers(c) if mtp else 0)):
        hf, gguf = f"model.layers.{layer}.", f"blk.{layer}."
        mapped += map_tensors(
            checkpoint, attention + (DENSE if layer < dense else moe), d, hf, gguf
        )
        if layer >= n_layer:
            mapped += map_tensors(checkpoint, (*NEXTN, *_own_copies(checkpoint, hf)), d, hf, gguf)
    left_out = tuple(f"model.layers.{n_layer + i}." for i in range(extra_layers(c)))
    copies = tuple(row.hf for row, _ in NEXTN_COPIES)
    reject_unmapped(
        checkpoint,
        mapped,
        lambda name: (
            (name.startswith(left_out) and (not mtp or name.endswith(copies)))
            or (tied and name == "lm_head.weight")
            or is_unused(name)
        ),
    )
    return mapped


def _own_copies(checkpoint: Checkpoint, hf: str) -> Iterator[TensorMapping]:
    for row, trunk in NEXTN_COPIES:
        if hf + row.hf in checkpoint.tensors and not _same_bytes(checkpoint, hf + row.hf, trunk):
            yield row


def _same_bytes(checkpoint: Checkpoint, one: str, other: str) -> bool:
    """Whether two tensors hold the same data."""
    a, b = checkpoint.tensor(one), checkpoint.tensor(other)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return checkpoint.source.same((a.file, a.start, a.nbytes), (b.file, b.start, b.nbytes))


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    rank, rope_dim, nope = (
        c.integer("kv_lora_rank"),
        c.integer("qk_rope_head_dim"),
        c.integer("qk_nope_head_dim"),
    )
    experts = c.integer("n_routed_experts")
    yield ".context_length", c.integer("max_position_embeddings")
    yield ".embedding_length", c.integer("hidden_size")
    yield ".feed_forward_length", c.integer("intermediate_size")
    yield ".attention.head_count", c.integer("num_attention_heads")
    yield ".attention.head_count_kv", 1
    yield from _rope(c)
    yield ".attention.layer_norm_rms_epsilon", c.number("rms_norm_eps", 1e-6)
    yield ".expert_used_count", c.integer("num_experts_per_tok")
    yield from _groups(c, experts)
    yield ".expert_gating_func", _gating(c)
    yield ".leading_dense_block_count", c.integer("first_k_dense_replace", 0, least=0)
    yield ".vocab_size", c.integer("vocab_size")
    if q_lora := c.integer("q_lora_rank", 0, least=0):
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
    name = c.text(
        "scoring_func", "sigmoid" if c.architecture == "DeepseekV3ForCausalLM" else "softmax"
    )
    if name not in GATING:
        raise c.fail("scoring_func", f"is {name!r:.40}; {' or '.join(GATING)} is needed")
    return GATING[name]


def _groups(c: Config, experts: int) -> Iterator[tuple[str, Any]]:
    """Group-limited routing. llama.cpp's loader aborts the process on numbers that do not fit, so
    they are checked here.
    """
    if not c.has("n_group"):
        return
    groups, used = c.integer("n_group"), c.integer("topk_group", 1)
    if groups >= experts or (groups > 1 and (experts % groups or used >= groups)):
        raise c.fail(
            "n_group",
            f"is {groups}, with topk_group {used} and {experts} experts: that does not go together",
        )
    yield ".expert_group_count", groups
    yield ".expert_group_used_count", used


def _rope(c: Config) -> Iterator[tuple[str, Any]]:
    yield from rope_metadata(c, ("yarn",))
    if rope_kind(c) == "yarn" and c.rope.has("mscale_all_dim"):
        mscale = c.rope.number("mscale_all_dim")
        if c.rope.number("mscale", mscale) != mscale:
            raise c.fail(
                "rope_scaling",
                "has an mscale other than mscale_all_dim; llama.cpp takes them as one",
            )
        yield ".rope.scaling.yarn_log_multiplier", 0.1 * mscale


def warnings(c: Config) -> Iterable[str]:
    if c.text("topk_method", "") == "group_limited_greedy":
        yield "V2 ranks groups of experts by their best expert, llama.cpp by the sum of the best two: some answers will differ"
    if not c.integer("q_lora_rank", 0, least=0) and c.integer("num_hidden_layers") not in (26, 27):
        yield "llama.cpp loads a deepseek2 model without q_lora_rank only when it has 26 or 27 layers (V2-Lite)"


DEEPSEEK2 = Architecture(
    arch="deepseek2",
    accepts=("DeepseekV3ForCausalLM", "DeepseekV2ForCausalLM"),
    models="V2, V2-Lite, V2.5, Coder-V2, Prover-V2, V3, V3-0324, R1, R1-Zero, R1-0528, V3.1",
    metadata=metadata,
    tensors=tensors,
    extra_layers=extra_layers,
    warnings=warnings,
)
