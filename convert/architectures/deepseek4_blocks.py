"""The blocks of V4: hyper-connections, compressed attention and FP4 experts.

The checkpoints have names of their own, and scales in ``x.scale`` beside ``x.weight``. What
llama.cpp's converter makes of a tensor follows from the type that it is stored in: FP4 becomes
MXFP4 without loss, FP8 Q8_0; bf16 and float32 stay. Source of names and keys: llama.cpp,
conversion/deepseek.py (``DeepseekV4Model``) and src/models/deepseek4.cpp. The model itself is in
:mod:`.deepseek4`, its drafters in :mod:`.deepseek4_drafters`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dslocal.convert.checkpoint.config import Config, short_repr
from dslocal.convert.checkpoint.safetensors import FP4, FP8
from dslocal.gguf.tensor_names import layer_of, name_in_layer
from dslocal.gguf.tensor_types import GgmlType

from .common import rope_metadata
from .mapping import (
    AnyMapping,
    CheckpointTensors,
    ExpertsMapping,
    MappedTensor,
    TensorMapping,
    map_tensors,
)
from .moe import check_routing, moe_dims

BF16, F32 = "BF16", "F32"
I64 = "I64"
SQRT_SOFTPLUS = 4  # enum llama_expert_gating_func_type
HC_MULT = 4  # the only number of streams that llama.cpp's operators do
RATIO_SPARSE, RATIO_DENSE = 4, 128  # compressed rows that an indexer selects, and that are all read
EXPERT_TYPES = ("fp4", "fp8", "bf16")  # what config.json may call them; the files decide
NATIVE_TYPES = {
    FP4: GgmlType.MXFP4,
    FP8: GgmlType.Q8_0,
    "BF16": GgmlType.BF16,
    "F16": GgmlType.F16,
    "F32": GgmlType.F32,
    "I64": GgmlType.I32,
    "I32": GgmlType.I32,
}
ALWAYS_Q8_0 = "nextn.eh_proj.weight"

EMBEDDING = (
    TensorMapping("embed.weight", "token_embd.weight", ("vocab", "embd"), published=BF16),
    TensorMapping("head.weight", "output.weight", ("vocab", "embd"), published=BF16),
)
HEAD = (
    TensorMapping("norm.weight", "output_norm.weight", ("embd",), published=BF16),
    TensorMapping("hc_head_fn", "output_hc_fn.weight", ("hc", "hc*embd"), published=F32),
    TensorMapping("hc_head_base", "output_hc_base.weight", ("hc",), published=F32),
    TensorMapping("hc_head_scale", "output_hc_scale.weight", ("1",), published=F32),
)
BLOCK: tuple[AnyMapping, ...] = (
    TensorMapping("attn_norm.weight", "attn_norm.weight", ("embd",), published=BF16),
    TensorMapping("ffn_norm.weight", "ffn_norm.weight", ("embd",), published=BF16),
    TensorMapping("hc_attn_fn", "hc_attn_fn.weight", ("hc_mix", "hc*embd"), published=F32),
    TensorMapping("hc_attn_base", "hc_attn_base.weight", ("hc_mix",), published=F32),
    TensorMapping("hc_attn_scale", "hc_attn_scale.weight", ("3",), published=F32),
    TensorMapping("hc_ffn_fn", "hc_ffn_fn.weight", ("hc_mix", "hc*embd"), published=F32),
    TensorMapping("hc_ffn_base", "hc_ffn_base.weight", ("hc_mix",), published=F32),
    TensorMapping("hc_ffn_scale", "hc_ffn_scale.weight", ("3",), published=F32),
    TensorMapping("attn.attn_sink", "attn_sinks.weight", ("heads",), published=F32),
    TensorMapping("attn.wq_a.weight", "attn_q_a.weight", ("q_lora", "embd"), published=FP8),
    TensorMapping("attn.q_norm.weight", "attn_q_a_norm.weight", ("q_lora",), published=BF16),
    TensorMapping("attn.wq_b.weight", "attn_q_b.weight", ("heads*head", "q_lora"), published=FP8),
    TensorMapping("attn.wkv.weight", "attn_kv.weight", ("head", "embd"), published=FP8),
    TensorMapping("attn.kv_norm.weight", "attn_kv_a_norm.weight", ("head",), published=BF16),
    TensorMapping(
        "attn.wo_a.weight", "attn_output_a.weight", ("groups*rank", "group_in"), published=FP8
    ),
    TensorMapping(
        "attn.wo_b.weight", "attn_output_b.weight", ("embd", "groups*rank"), published=FP8
    ),
    TensorMapping("ffn.gate.weight", "ffn_gate_inp.weight", ("experts", "embd"), published=BF16),
    # w1 is the gate, w2 goes down, w3 up
    ExpertsMapping("ffn.experts.{e}.w1.weight", "ffn_gate_exps.weight", ("moe_ff", "embd"), FP4),
    ExpertsMapping("ffn.experts.{e}.w2.weight", "ffn_down_exps.weight", ("embd", "moe_ff"), FP4),
    ExpertsMapping("ffn.experts.{e}.w3.weight", "ffn_up_exps.weight", ("moe_ff", "embd"), FP4),
    TensorMapping(
        "ffn.shared_experts.w1.weight",
        "ffn_gate_shexp.weight",
        ("shared_ff", "embd"),
        published=FP8,
    ),
    TensorMapping(
        "ffn.shared_experts.w2.weight",
        "ffn_down_shexp.weight",
        ("embd", "shared_ff"),
        published=FP8,
    ),
    TensorMapping(
        "ffn.shared_experts.w3.weight", "ffn_up_shexp.weight", ("shared_ff", "embd"), published=FP8
    ),
)
HASH_ROUTING = TensorMapping(
    "ffn.gate.tid2eid", "ffn_gate_tid2eid.weight", ("vocab", "used"), published=I64
)
ROUTER_BIAS = TensorMapping("ffn.gate.bias", "exp_probs_b.bias", ("experts",), published=F32)
# of image tokens, in Vision-Exp
VISION_BIAS = TensorMapping("ffn.gate.bias_vl", "exp_probs_b_vl.bias", ("experts",), published=F32)
INDEXER = (
    TensorMapping(
        "attn.indexer.wq_b.weight",
        "indexer.attn_q_b.weight",
        ("index_heads*index_head", "q_lora"),
        published=FP8,
    ),
    TensorMapping(
        "attn.indexer.weights_proj.weight",
        "indexer.proj.weight",
        ("index_heads", "embd"),
        published=BF16,
    ),
)


def _compressor(hf: str, gguf: str, size: str, width: str, ratio: int) -> Iterator[TensorMapping]:
    """Yield the rows of a compressor: ``ratio`` tokens become one row of a cache.

    Args:
        hf: What comes before each Hugging Face name.
        gguf: What comes before each GGUF name.
        size: The dimension of a compressed row.
        width: The dimension of what it is made from; twice as much where windows overlap.
        ratio: How many tokens it compresses.
    """
    yield TensorMapping(f"{hf}ape", f"{gguf}ape.weight", (str(ratio), width), published=F32)
    yield TensorMapping(f"{hf}norm.weight", f"{gguf}norm.weight", (size,), published=BF16)
    yield TensorMapping(f"{hf}wkv.weight", f"{gguf}kv.weight", (width, "embd"), published=BF16)
    yield TensorMapping(f"{hf}wgate.weight", f"{gguf}gate.weight", (width, "embd"), published=BF16)


def _attention(ratio: int) -> Iterator[AnyMapping]:
    """Yield the rows that a layer has for its compression ratio."""
    if ratio:
        width = "2*head" if ratio == RATIO_SPARSE else "head"
        yield from _compressor("attn.compressor.", "attn_compressor_", "head", width, ratio)
    if ratio == RATIO_SPARSE:
        yield from INDEXER
        yield from _compressor(
            "attn.indexer.compressor.", "indexer_compressor_", "index_head", "2*index_head", ratio
        )


def named_dims(c: Config) -> dict[str, int]:
    """Return the model's dimensions, by the names that shapes are written in.

    Raises:
        CheckpointError: A dimension is missing or impossible.
    """
    heads, head = c.integer("num_attention_heads"), c.integer("head_dim")
    groups, embd = c.integer("o_groups"), c.integer("hidden_size")
    if heads * head % groups:
        raise c.error("o_groups", f"is {groups}, of {heads} heads of {head}")
    rope = c.integer("qk_rope_head_dim")
    if rope > head or rope % 2:
        raise c.error(
            "qk_rope_head_dim", f"is {rope}, of heads of {head}; it must be even and at most that"
        )
    hc = c.integer("hc_mult")
    if hc != HC_MULT:
        raise c.error("hc_mult", f"is {hc}; llama.cpp supports only {HC_MULT} streams")
    index_heads, index_head = c.integer("index_n_heads"), c.integer("index_head_dim")
    return {
        "1": 1,
        "3": 3,
        str(RATIO_SPARSE): RATIO_SPARSE,
        str(RATIO_DENSE): RATIO_DENSE,
        "vocab": c.integer("vocab_size"),
        "embd": embd,
        "heads": heads,
        "head": head,
        "2*head": 2 * head,
        "heads*head": heads * head,
        "q_lora": c.integer("q_lora_rank"),
        "groups*rank": groups * c.integer("o_lora_rank"),
        "group_in": heads * head // groups,
        "hc": hc,
        "hc_mix": (2 + hc) * hc,
        "hc*embd": hc * embd,
        "index_heads": index_heads,
        "index_head": index_head,
        "2*index_head": 2 * index_head,
        "index_heads*index_head": index_heads * index_head,
        "used": c.integer("num_experts_per_tok"),
        **moe_dims(c),
    }


def compress_ratios(c: Config) -> list[int]:
    """Return how many tokens each layer's attention compresses into a row; 0 for none.

    Entries after the main layers are those of the MTP layer, or of DSpark's stages.

    Raises:
        CheckpointError: There are fewer than layers, or one is another number than llama.cpp does.
    """
    ratios = c.values.get("compress_ratios")
    layers = c.integer("num_hidden_layers")
    if not isinstance(ratios, list):
        raise c.error(
            "compress_ratios",
            f"is {short_repr(ratios)}; it must be a list with one number for each layer",
        )
    most = layers + c.integer("num_nextn_predict_layers", 0, minimum=0)
    if c.has("dspark_block_size"):
        most = 2 * layers
    if not layers <= len(ratios) <= most:
        raise c.error(
            "compress_ratios", f"has {len(ratios)} entries; {layers} to {most} are needed"
        )
    for place, ratio in enumerate(ratios):
        if type(ratio) is not int or ratio not in (0, RATIO_SPARSE, RATIO_DENSE):
            raise c.error(
                "compress_ratios",
                f"has {short_repr(ratio)} at {place}; llama.cpp supports 0, {RATIO_SPARSE} and "
                f"{RATIO_DENSE}",
            )
        if ratio and place >= layers:
            raise c.error(
                "compress_ratios",
                f"has {ratio} at {place}; llama.cpp supports only 0 after layer {layers}",
            )
    return ratios


def hash_layers(c: Config) -> int:
    """Return how many layers route by token id. Raises CheckpointError."""
    layers, hashed = c.integer("num_hidden_layers"), c.integer("num_hash_layers", 0, minimum=0)
    if hashed > layers:
        raise c.error("num_hash_layers", f"is {hashed}, of {layers} layers")
    return hashed


def check_config(c: Config) -> None:
    """Reject what llama.cpp's graph does not do. Raises CheckpointError."""
    check_routing(c)
    if c.text("scoring_func", "sqrtsoftplus") != "sqrtsoftplus":
        raise c.error(
            "scoring_func", f"is {c.text('scoring_func')!r:.40}; sqrtsoftplus is needed for V4"
        )
    expert_dtype = c.text("expert_dtype", EXPERT_TYPES[0])
    if expert_dtype not in EXPERT_TYPES:
        raise c.error(
            "expert_dtype", f"is {expert_dtype!r:.40}; {', '.join(EXPERT_TYPES)} are known"
        )
    if c.integer("num_key_value_heads", 1) != 1:
        raise c.error("num_key_value_heads", "is not 1; V4's heads share one key")


def block(ratio: int, *, is_hashed: bool, has_vision: bool) -> Iterator[AnyMapping]:
    """Yield the rows of one layer.

    Args:
        ratio: Its compression ratio.
        is_hashed: Whether its experts are chosen by token id. Its router's bias is not used then.
        has_vision: Whether it has a bias for image tokens.
    """
    yield from BLOCK
    yield from _attention(ratio)
    yield HASH_ROUTING if is_hashed else ROUTER_BIAS
    if has_vision:
        yield VISION_BIAS


def expand(
    source: CheckpointTensors,
    table: Iterable[AnyMapping],
    dims: dict[str, int],
    hf: str = "",
    gguf: str = "",
) -> Iterator[MappedTensor]:
    """Yield the GGUF tensors of a table, each with the type that the converter gives it.

    Arguments and errors are those of :func:`.mapping.map_tensors`.
    """
    for mapping in table:
        for tensor in map_tensors(source, (mapping,), dims, hf, gguf):
            name = hf + mapping.hf.format(e=0)
            dtype = source.dtype_of(name, mapping.published)
            yield dataclasses.replace(tensor, native=native_type(tensor, dtype))


def native_type(tensor: MappedTensor, dtype: str) -> GgmlType:
    """Return what llama.cpp's converter makes of a tensor.

    Source: ``DeepseekV4Model.tensor_force_quant``, and ``ModelBase.prepare_tensors`` for vectors
    and norms.

    Args:
        tensor: The tensor.
        dtype: The type that it is stored in.
    """
    native = NATIVE_TYPES.get(dtype, GgmlType.F32)
    if native is GgmlType.I32:
        return native
    if len(tensor.shape) < 2 or tensor.name.endswith((".bias", "_norm.weight")):
        return GgmlType.F32
    return GgmlType.Q8_0 if tensor.name.endswith(ALWAYS_Q8_0) else native


def model_metadata(
    c: Config, layers: int, ratios: Sequence[int], hashed: int
) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a model of V4's blocks.

    Args:
        c: The configuration.
        layers: How many blocks the file has.
        ratios: The compression ratios.
        hashed: How many blocks route by token id.

    Raises:
        CheckpointError: The configuration makes no sense.
    """
    head = c.integer("head_dim")
    yield ".context_length", c.integer("max_position_embeddings")
    yield ".embedding_length", c.integer("hidden_size")
    yield ".attention.head_count", c.integer("num_attention_heads")
    yield ".attention.head_count_kv", 1
    yield from rope_metadata(c, ("yarn",))
    yield ".attention.layer_norm_rms_epsilon", c.number("rms_norm_eps")
    yield ".expert_count", c.integer("n_routed_experts")
    yield ".expert_used_count", c.integer("num_experts_per_tok")
    yield ".expert_gating_func", SQRT_SOFTPLUS
    yield ".attention.key_length", head
    yield ".attention.value_length", head
    yield ".rope.dimension_count", c.integer("qk_rope_head_dim")
    yield ".attention.q_lora_rank", c.integer("q_lora_rank")
    yield ".attention.sliding_window", c.integer("sliding_window")
    yield ".expert_feed_forward_length", c.integer("moe_intermediate_size")
    yield ".expert_shared_count", c.integer("n_shared_experts")
    yield ".expert_weights_scale", c.number("routed_scaling_factor")
    yield ".expert_weights_norm", c.flag("norm_topk_prob", True)
    limit = c.number("swiglu_limit")
    yield ".swiglu_clamp_exp", [limit] * layers
    yield ".swiglu_clamp_shexp", [limit] * layers
    yield ".attention.indexer.head_count", c.integer("index_n_heads")
    yield ".attention.indexer.key_length", c.integer("index_head_dim")
    yield ".attention.indexer.top_k", c.integer("index_topk")
    yield ".attention.output_group_count", c.integer("o_groups")
    yield ".attention.output_lora_rank", c.integer("o_lora_rank")
    yield ".attention.compress_ratios", list(ratios)
    yield ".attention.compress_rope_freq_base", c.number("compress_rope_theta")
    yield ".hyper_connection.count", c.integer("hc_mult")
    yield ".hyper_connection.sinkhorn_iterations", c.integer("hc_sinkhorn_iters")
    yield ".hyper_connection.epsilon", c.number("hc_eps")
    yield ".hash_layer_count", hashed


# the experts of a layer in the order in which llama.cpp's converter writes them, before the rest
_EXPERTS = ("ffn_gate_exps.weight", "ffn_down_exps.weight", "ffn_up_exps.weight")


def converter_order(name: str) -> tuple[int, ...]:
    """Return where llama.cpp's converter puts a tensor, by GGUF name.

    Source: ``DeepseekV4Model.generate_extra_tensors``.
    """
    part = name_in_layer(name)
    if part == HASH_ROUTING.gguf:
        return (0, layer_of(name))
    if part in _EXPERTS:
        return (1, layer_of(name), _EXPERTS.index(part))
    return (2,) if part == ALWAYS_Q8_0 else (3,)
