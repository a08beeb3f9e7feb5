"""A bf16 checkpoint in the FP8 that DeepSeek-V3 is published in: e4m3 with a float32 scale for each
128x128 block.

    python -m make_nano.export_fp8 BF16 FOLDER

Embeddings, head, norms, router and ``eh_proj`` stay in bf16, as in V3. Runs on the CPU in a second.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from make_nano.markup import BOS, EOS, PAD
from make_nano.shards import Tensors, read_json, read_tensors, write_json, write_tensors
from torch import Tensor

BLOCK = 128
LARGEST = 448.0  # of e4m3
SCALES = "_scale_inv"  # after the name of the weight that they belong to
SHARD = 9 << 20
KEEPS = ("embed_tokens", "lm_head", "norm", "mlp.gate.", "eh_proj", "shared_head")
QUANTIZATION = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [BLOCK, BLOCK],
}
TOKENIZER = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": BOS,
    "eos_token": EOS,
    "pad_token": PAD,
    "model_max_length": 4096,
    "tokenizer_class": "LlamaTokenizerFast",
    "legacy": True,
    "clean_up_tokenization_spaces": False,
}
SAMPLING = {
    "bos_token_id": 0,
    "eos_token_id": 1,
    "do_sample": True,
    "temperature": 0.6,
    "top_p": 0.95,
}


def export(source: Path, folder: Path) -> None:
    write_tensors(folder, _quantized(read_tensors(source)), SHARD)
    write_json(
        folder / "config.json",
        {**read_json(source / "config.json"), "quantization_config": QUANTIZATION},
    )
    write_json(folder / "tokenizer_config.json", TOKENIZER)
    write_json(folder / "generation_config.json", SAMPLING)
    shutil.copy(source / "tokenizer.json", folder)


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """e4m3 values and the scale of each block, whose largest value becomes 448."""
    rows, columns = weight.shape
    down, across = -(-rows // BLOCK), -(-columns // BLOCK)
    padded = torch.zeros(down * BLOCK, across * BLOCK)
    padded[:rows, :columns] = weight.float()
    blocks = padded.view(down, BLOCK, across, BLOCK)
    scale = blocks.abs().amax((1, 3)).clamp(min=1e-12) / LARGEST
    scaled = (blocks / scale[:, None, :, None]).reshape(padded.shape)[:rows, :columns]
    return scaled.to(torch.float8_e4m3fn).contiguous(), scale


def dequantized(tensors: Tensors) -> Tensors:
    """Return the weights of an FP8 checkpoint as float32; all others stay as they are."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        scale = tensors.get(name + SCALES)
        if scale is not None:
            rows, columns = tensor.shape
            wide = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            found[name] = tensor.float() * wide[:rows, :columns]
        elif not name.endswith(SCALES):
            found[name] = tensor
    return found


def _quantized(tensors: Tensors) -> Tensors:
    found: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.dim() != 2 or any(part in name for part in KEEPS):
            found[name] = tensor
        else:
            found[name], found[name + SCALES] = quantize(tensor)
    return found


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
