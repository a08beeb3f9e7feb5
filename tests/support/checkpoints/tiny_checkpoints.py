"""Tiny random checkpoints of every family that dslocal converts, written with numpy alone, for
tests of the converter.

``write_checkpoint(folder, kind)`` makes a folder that looks like a published one (config.json,
tokenizer.json, one or more safetensors files) but is a few MB small. ``KINDS`` is the table of
families; whatever a test changes in the configuration changes the tensors with it:
``write_checkpoint(folder, "deepseek-v3", dtype="fp8", shards=3, hidden_size=192)``. By default rows
are 256 long (V2-Lite: 64) and expert down projections shorter; ``moe_intermediate_size=256`` makes
those long too.

The weights are the same on every machine and numpy version (bits of PCG64 and integer sums, no
library's normal distribution), so that logits computed elsewhere (tests/vectors/tiny_logits.npz)
stay true for them. Knows nothing of dslocal and GGUF.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import tiny_v4
from .stored_tensors import (
    FP8_BLOCK,
    Floats,
    Stored,
    encode,
    normal_values,
    quantize_fp8,
    write_safetensors,
)

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
FP8_KEEPS = (
    "embed_tokens",
    "lm_head",
    "norm",
    "mlp.gate.",
    "eh_proj",
    "shared_head",
    "indexer.weights_proj",
)  # parts that V3 leaves in bf16
BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
TOKENIZERS: Config = json.loads(
    (Path(__file__).parents[2] / "vectors" / "tokenizers.json").read_text(encoding="utf-8")
)
MERGES = (
    "Ġ t",
    "h e",
    "i n",
    "Ġ a",
    "Ġt he",
    "o n",
    "r e",
    "Ġ Ġ",
    "Ċ Ċ",
    "e r",
    "in g",
    "ä ½",
    "ä½ ł",
    "o r",
    "Ġ w",
    "Ġw or",
    "1 2",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>'"
    " }}{{ m.content }}"
    "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"
)


@dataclass(frozen=True)
class Kind:
    """A family: its config.json and whose tokenizer it has. The tensors follow from the
    configuration.
    """

    tokenizer: str
    config: Mapping[str, Any]


_YARN = {
    "type": "yarn",
    "factor": 40,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32,
    "beta_slow": 1,
}
_LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_QWEN3_YARN = {
    "factor": 4.0,
    "original_max_position_embeddings": 32768,
    "attn_factor": 0.8782488562869419,
}
_EVERY = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 320,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 4096,
}
_LLAMA = {
    **_EVERY,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "mlp_bias": False,
}
_QWEN = {
    **_EVERY,
    "num_key_value_heads": 2,
    "max_position_embeddings": 131072,
    "sliding_window": None,
    "use_sliding_window": False,
}
_QWEN2 = {
    **_QWEN,
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "sliding_window": 4096,
    "max_window_layers": 2,
}
_QWEN3 = {
    **_QWEN,
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 32,
    "attention_bias": False,
    "rope_theta": 1000000,
    "max_window_layers": 2,
    "rope_scaling": {"rope_type": "yarn", **_QWEN3_YARN},
}
_MOE = {
    **_EVERY,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "n_shared_experts": 2,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 1,
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "attention_bias": False,
    "intermediate_size": 256,
}
_MLA = {
    **_MOE,
    "q_lora_rank": 64,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "max_position_embeddings": 163840,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 1.0,
}
_V2 = {**_MLA, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2"}
_V3 = {
    **_MLA,
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
}
_V3_MTP = {
    **_V3,
    "topk_method": "noaux_tc",
    "routed_scaling_factor": 2.5,
    "n_shared_experts": 1,
    "num_nextn_predict_layers": 1,
    "num_hidden_layers": 3,
    "rope_scaling": {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
}
_V32 = {
    **_V3_MTP,
    "architectures": ["DeepseekV32ForCausalLM"],
    "model_type": "deepseek_v32",
    "index_head_dim": 128,
    "index_n_heads": 8,
    "index_topk": 64,
}
KINDS = {
    "deepseek-v3": Kind("deepseek-v3", _V3_MTP),
    "deepseek-v32": Kind("deepseek-v3", _V32),
    "deepseek-v4": Kind("deepseek-v3", tiny_v4.V4),
    "deepseek-v4-dspark": Kind("deepseek-v3", {**tiny_v4.V4, **tiny_v4.DSPARK}),
    "deepseek-v2-lite": Kind(  # 27 layers: llama.cpp takes fewer for a model with q_lora_rank
        "deepseek-llm",
        {
            **_V2,
            "num_hidden_layers": 27,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "q_lora_rank": None,
            "kv_lora_rank": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "topk_method": "greedy",
            "rope_scaling": {**_YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
    ),
    "deepseek-v2": Kind(
        "deepseek-llm",
        {
            **_V2,
            "num_hidden_layers": 4,
            "topk_method": "group_limited_greedy",
            "routed_scaling_factor": 16.0,
            "rope_scaling": {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
    ),
    "deepseek-moe": Kind(
        "deepseek-llm", {**_MOE, "architectures": ["DeepseekForCausalLM"], "model_type": "deepseek"}
    ),
    "llama": Kind("deepseek-llm", _LLAMA),
    "llama-linear": Kind(
        "deepseek-coder",
        {
            **_LLAMA,
            "rope_theta": 100000,
            "rope_scaling": {"type": "linear", "factor": 4.0},
            "max_position_embeddings": 16384,
        },
    ),
    "llama3": Kind(
        "llama-bpe",
        {
            **_LLAMA,
            "num_key_value_heads": 2,
            "rope_theta": 500000.0,
            "rms_norm_eps": 1e-05,
            "max_position_embeddings": 131072,
            "rope_scaling": {**_LLAMA3, "rope_type": "llama3"},
        },
    ),
    "qwen2": Kind("qwen2", _QWEN2),
    "qwen2-tied": Kind("qwen2", {**_QWEN2, "tie_word_embeddings": True}),
    "qwen3": Kind("qwen2", _QWEN3),
}


def write_checkpoint(
    folder: Path, kind: str, *, dtype: str = "bf16", shards: int = 1, seed: int = 0, **changes: Any
) -> Path:
    """Writes a checkpoint of ``kind`` into ``folder`` (made if need be) and returns it.

    ``dtype``: bf16, f16, f32, or fp8 with V3's 128x128 block scales; for V4, fp4 is what the vendor
    publishes, fp8 a Base checkpoint, and dequantized what fp4 stands for, in float32. ``shards``:
    tensors go round them one by one, so that a layer's experts, and a weight and its scale, lie in
    different files.
    ``changes``: other values for config.json; ``...`` takes a key out.
    """
    family = KINDS[kind]
    names = {"f16": "float16", "f32": "float32"}
    words = _tokenizer(TOKENIZERS[family.tokenizer])
    ids = {token["content"]: token["id"] for token in words["added_tokens"]}
    config: Config = {
        **family.config,
        "bos_token_id": ids[BOS],
        "eos_token_id": ids[EOS],
        "torch_dtype": names.get(dtype, "bfloat16"),
    }
    is_v4 = family.config["model_type"] == "deepseek_v4"
    if dtype in ("fp8", "fp4"):
        blocks = {"weight_block_size": [FP8_BLOCK, FP8_BLOCK]}
        config["quantization_config"] = {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            **blocks,
        }
        if is_v4:
            config["expert_dtype"] = dtype
            config["quantization_config"]["scale_fmt"] = "ue8m0"
    config = {key: value for key, value in {**config, **changes}.items() if value is not ...}
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "chat_template": CHAT_TEMPLATE,
    }
    if is_v4:  # its tokenizer adds no BOS, and the vendor publishes no template
        settings = {**settings, "add_bos_token": False}
        del settings["chat_template"]
        words["post_processor"] = None
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", config)
    _write_json(folder / "tokenizer.json", words)
    _write_json(
        folder / "tokenizer_config.json",
        {**settings, "model_max_length": 4096, "tokenizer_class": "LlamaTokenizerFast"},
    )
    _write_json(
        folder / "generation_config.json",
        {"bos_token_id": ids[BOS], "eos_token_id": ids[EOS], **sampling},
    )
    stored = dict((tiny_v4.stored_tensors if is_v4 else _stored)(config, dtype, seed))
    if shards == 1:
        write_safetensors(folder / "model.safetensors", stored)
        return folder
    where = {
        name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors"
        for i, name in enumerate(stored)
    }
    for shard in sorted(set(where.values())):
        write_safetensors(
            folder / shard,
            {name: tensor for name, tensor in stored.items() if where[name] == shard},
        )
    total = sum(len(tensor.data) for tensor in stored.values())
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": where},
    )
    return folder


def tensor_shapes(c: Config) -> Shapes:
    """Return every tensor of a model with this configuration, row-major, in file order, with the
    MTP layer.
    """
    embd = c["hidden_size"]
    n_layer = c["num_hidden_layers"]
    experts = c.get("n_routed_experts") or 0
    embeddings = (c["vocab_size"], embd)
    found: Shapes = {"model.embed_tokens.weight": embeddings}
    for i in range(n_layer + (c.get("num_nextn_predict_layers") or 0)):
        layer: Shapes = {
            "input_layernorm.weight": (embd,),
            "post_attention_layernorm.weight": (embd,),
        }
        layer |= {
            f"self_attn.{name}": shape
            for name, shape in (_mla(c) if "kv_lora_rank" in c else _mha(c)).items()
        }
        if experts and i >= c["first_k_dense_replace"]:
            layer["mlp.gate.weight"] = (experts, embd)
            if c.get("topk_method") == "noaux_tc":
                layer["mlp.gate.e_score_correction_bias"] = (experts,)
            for e in range(experts):
                layer |= _mlp(f"mlp.experts.{e}", embd, c["moe_intermediate_size"])
            layer |= _mlp(
                "mlp.shared_experts", embd, c["moe_intermediate_size"] * c["n_shared_experts"]
            )
        else:
            layer |= _mlp("mlp", embd, c["intermediate_size"])
        if i >= n_layer:
            layer |= {
                f"{norm}.weight": (embd,) for norm in ("enorm", "hnorm", "shared_head.norm")
            } | {"eh_proj.weight": (embd, 2 * embd)}
            layer |= {"embed_tokens.weight": embeddings, "shared_head.head.weight": embeddings}
        found |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    found["model.norm.weight"] = (embd,)
    return found if c.get("tie_word_embeddings") else {**found, "lm_head.weight": embeddings}


def _mlp(name: str, embd: int, ff: int) -> Shapes:
    return {
        f"{name}.gate_proj.weight": (ff, embd),
        f"{name}.up_proj.weight": (ff, embd),
        f"{name}.down_proj.weight": (embd, ff),
    }


def _mha(c: Config) -> Shapes:
    embd, heads = c["hidden_size"], c["num_attention_heads"]
    head = c.get("head_dim") or embd // heads
    rows = {
        "q": heads * head,
        "k": c.get("num_key_value_heads", heads) * head,
        "v": c.get("num_key_value_heads", heads) * head,
    }
    found: Shapes = {f"{part}_proj.weight": (n, embd) for part, n in rows.items()}
    if c["model_type"] == "qwen2":
        found |= {f"{part}_proj.bias": (n,) for part, n in rows.items()}
    if c["model_type"] == "qwen3":
        found |= {"q_norm.weight": (head,), "k_norm.weight": (head,)}
    return {**found, "o_proj.weight": (embd, heads * head)}


def _mla(c: Config) -> Shapes:
    embd = c["hidden_size"]
    heads = c["num_attention_heads"]
    rank = c["kv_lora_rank"]
    q_rank = c.get("q_lora_rank")
    nope = c["qk_nope_head_dim"]
    rope = c["qk_rope_head_dim"]
    v = c["v_head_dim"]
    found: Shapes = {"q_proj.weight": (heads * (nope + rope), embd)}
    if q_rank:
        found = {
            "q_a_proj.weight": (q_rank, embd),
            "q_a_layernorm.weight": (q_rank,),
            "q_b_proj.weight": (heads * (nope + rope), q_rank),
        }
    found |= {"kv_a_proj_with_mqa.weight": (rank + rope, embd), "kv_a_layernorm.weight": (rank,)}
    return {
        **found,
        "kv_b_proj.weight": (heads * (nope + v), rank),
        "o_proj.weight": (embd, heads * v),
        **_indexer(c),
    }


def _indexer(c: Config) -> Shapes:
    """Return what V3.2's sparse attention adds to a layer."""
    if "index_n_heads" not in c:
        return {}
    embd = c["hidden_size"]
    heads, size = c["index_n_heads"], c["index_head_dim"]
    return {
        "indexer.wq_b.weight": (heads * size, c["q_lora_rank"]),
        "indexer.wk.weight": (size, embd),
        "indexer.k_norm.weight": (size,),
        "indexer.k_norm.bias": (size,),
        "indexer.weights_proj.weight": (heads, embd),
    }


def _stored(c: Config, dtype: str, seed: int) -> Iterator[tuple[str, Stored]]:
    for name, shape in tensor_shapes(c).items():
        values = _values(name, shape, seed)
        if name.endswith("e_score_correction_bias"):  # V3 keeps it in F32
            yield name, encode(values, "f32")
        elif dtype == "fp8" and len(shape) == 2 and not any(part in name for part in FP8_KEEPS):
            codes, scale = quantize_fp8(values)
            yield name, Stored("F8_E4M3", shape, codes.tobytes())
            yield f"{name}_scale_inv", encode(scale, "f32")
        else:
            yield name, encode(values, "bf16" if dtype == "fp8" else dtype)


def _values(name: str, shape: tuple[int, ...], seed: int) -> Floats:
    """Return normally distributed values that depend on seed and name only: matrices of variance 1
    / columns, norms about 1, small biases.
    """
    copied = {
        "embed_tokens.weight": "model.embed_tokens.weight",
        "shared_head.head.weight": "lm_head.weight",
    }
    origin = next((trunk for copy, trunk in copied.items() if name.endswith(copy)), name)
    scale = 0.1 if len(shape) == 1 else shape[-1] ** -0.5
    values = normal_values([seed, zlib.crc32(origin.encode())], shape, scale)
    return values + np.float32(1) if len(shape) == 1 and not name.endswith("bias") else values


def _tokenizer(family: Config) -> Config:
    """Return a tokenizer.json: the byte alphabet, a few merges, the family's special tokens and its
    real settings.
    """
    shown = [
        *range(33, 127),
        *range(161, 173),
        *range(174, 256),
    ]  # GPT-2's: printable bytes as they are, the rest from U+0100 on
    alphabet = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    vocab = {
        text: i
        for i, text in enumerate(
            [*family["first_tokens"], *alphabet, *(merge.replace(" ", "") for merge in MERGES)]
        )
    }
    numbered = {text: vocab[text] for text in family["first_tokens"]}
    numbered |= {text: len(vocab) + i for i, text in enumerate(family["last_tokens"])}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    merges = [merge.split(" ") for merge in MERGES] if family["merges_as_pairs"] else MERGES
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": family["normalizer"],
        "added_tokens": [
            {"id": i, "content": text, **flags, "special": text in (BOS, EOS, PAD)}
            for text, i in numbered.items()
        ],
        "pre_tokenizer": family["pre_tokenizer"],
        "post_processor": json.loads(
            json.dumps(family["post_processor"]).replace('"@bos"', str(numbered[BOS]))
        ),
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {**family["model"], "vocab": vocab, "merges": merges},
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
