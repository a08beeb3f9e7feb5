"""nano with the memory traffic of a big model: layers in front that change nothing but must be read
for every token.

    python -m make_nano.ballast NANO FOLDER [LAYERS] [WIDTH]

Attention output and down projection of the new layers are zero, so what comes in goes out, and
every answer and every draft of the MTP module is nano's own; but each token reads LAYERS x 3 x
hidden size x WIDTH more weights. For measuring speculative decoding where reading is what costs.
Writes bf16 in one file: 570 million parameters with the defaults, 20 and 32,768.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from make_nano.export_fp8 import dequantized
from make_nano.shards import INDEX, Tensors, read_json, read_tensors, write_json
from safetensors.torch import save_file
from torch import Tensor

FILE = "model.safetensors"
V2_LITE = (26, 27)  # so many layers mean V2-Lite to llama.cpp
SPREAD = 0.06


def add_ballast(source: Path, folder: Path, layers: int = 20, width: int = 32768) -> int:
    """Writes the checkpoint and returns its number of parameters."""
    config = read_json(source / "config.json")
    config.pop("quantization_config", None)
    hidden: int = config["hidden_size"]
    config["num_hidden_layers"] += layers
    config["first_k_dense_replace"] += layers
    config["intermediate_size"] = width
    if config["num_hidden_layers"] in V2_LITE:
        raise SystemExit("26 and 27 layers mean V2-Lite to llama.cpp: take another number")
    tensors = dequantized(read_tensors(source))
    loaded = _moved(tensors, layers, width) | _in_front(tensors, layers, hidden, width)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in loaded.items()},
        folder / FILE,
        {"format": "pt"},
    )
    write_json(
        folder / INDEX, {"metadata": {}, "weight_map": dict.fromkeys(loaded, FILE)}, indent=None
    )
    write_json(folder / "config.json", config, indent=1)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / name, folder)
    return sum(tensor.numel() for tensor in loaded.values())


def _moved(tensors: Tensors, layers: int, width: int) -> Tensors:
    """nano's own tensors, ``layers`` further on; its dense layer is as wide as the new ones, with
    zeros.
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        if not name.startswith("model.layers."):
            found[name] = tensor
            continue
        number, part = name.split(".", 3)[2:]
        dense = number == "0" and part.startswith("mlp.")
        found[f"model.layers.{int(number) + layers}.{part}"] = (
            _widened(part, tensor, width) if dense else tensor
        )
    return found


def _widened(part: str, weight: Tensor, width: int) -> Tensor:
    rows, columns = weight.shape
    wide = torch.zeros(
        (rows, width) if "down_proj" in part else (width, columns), dtype=weight.dtype
    )
    wide[:rows, :columns] = weight
    return wide


def _in_front(tensors: Tensors, layers: int, hidden: int, width: int) -> Tensors:
    random = torch.Generator().manual_seed(0)
    found: Tensors = {}
    for number in range(layers):
        new = f"model.layers.{number}."
        for name, tensor in tensors.items():
            if name.startswith("model.layers.0.") and ".mlp." not in name:
                found[new + name.split(".", 3)[3]] = (
                    torch.zeros_like(tensor) if "o_proj" in name else tensor.clone()
                )
        for part in ("gate_proj", "up_proj"):
            found[f"{new}mlp.{part}.weight"] = (
                torch.randn(width, hidden, generator=random) * SPREAD
            ).bfloat16()
        found[f"{new}mlp.down_proj.weight"] = torch.zeros(hidden, width).bfloat16()
    return found


if __name__ == "__main__":
    print(add_ballast(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5])) / 1e6, "M")
