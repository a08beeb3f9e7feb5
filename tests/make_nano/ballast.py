"""nano with the memory traffic of a big model: layers in front that change nothing but must be read
for every token.

    python -m make_nano.ballast NANO FOLDER [LAYERS] [WIDTH]

Attention output and down projection of the new layers are zero, so what comes in goes out, and
every answer and every draft of the MTP module is nano's own; but each token reads LAYERS x 3 x
hidden size x WIDTH more weights. For measuring speculative decoding where reading is what costs.
Writes FP8 in one file, as nano is: 570 million parameters with the defaults, 20 and 32,768. Needs
numpy alone.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from support.checkpoints.stored_tensors import FP8_BLOCK, Stored, write_safetensors

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
V2_LITE = (26, 27)  # so many layers mean V2-Lite to llama.cpp
SCALE = "_scale_inv"  # of a matrix, after its name
SPREAD = 0.002  # a code of FP8 is up to 448
NOT_A_NUMBER = 0x7F  # of FP8's codes, either sign

Tensors = dict[str, Stored]


def add_ballast(source: Path, folder: Path, layers: int = 20, width: int = 32768) -> int:
    """Writes the checkpoint and returns its number of parameters."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    hidden: int = config["hidden_size"]
    config["num_hidden_layers"] += layers
    config["first_k_dense_replace"] += layers
    config["intermediate_size"] = width
    if config["num_hidden_layers"] in V2_LITE:
        raise SystemExit("26 and 27 layers mean V2-Lite to llama.cpp: take another number")
    tensors = _read(source)
    loaded = _moved(tensors, layers, width) | _in_front(tensors, layers, hidden, width)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / FILE, loaded)
    index = {"metadata": {}, "weight_map": dict.fromkeys(loaded, FILE)}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / name, folder)
    return sum(
        int(np.prod(tensor.shape)) for name, tensor in loaded.items() if not name.endswith(SCALE)
    )


def _read(folder: Path) -> Tensors:
    """All tensors of a checkpoint, as they are stored."""
    found: Tensors = {}
    for shard in sorted(folder.glob("*.safetensors")):
        data = shard.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                shape = tuple(entry["shape"])
                found[name] = Stored(entry["dtype"], shape, data[start + begin : start + end])
    return found


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


def _widened(part: str, weight: Stored, width: int) -> Stored:
    rows, columns = weight.shape
    kind = "<f4" if part.endswith(SCALE) else "u1"
    wide_side = width // FP8_BLOCK if part.endswith(SCALE) else width
    shape = (rows, wide_side) if "down_proj" in part else (wide_side, columns)
    wide = np.zeros(shape, kind)
    wide[:rows, :columns] = np.frombuffer(weight.data, kind).reshape(rows, columns)
    return Stored(weight.dtype, shape, wide.tobytes())


def _in_front(tensors: Tensors, layers: int, hidden: int, width: int) -> Tensors:
    found: Tensors = {}
    for number in range(layers):
        new = f"model.layers.{number}."
        for name, tensor in tensors.items():
            if name.startswith("model.layers.0.") and ".mlp." not in name:
                is_zero = name.endswith("o_proj.weight")
                data = bytes(len(tensor.data)) if is_zero else tensor.data
                found[new + name.split(".", 3)[3]] = Stored(tensor.dtype, tensor.shape, data)
        random = np.random.Generator(np.random.PCG64(number))
        for part in ("gate_proj", "up_proj"):
            codes = random.integers(0, 256, (width, hidden), np.uint8)
            codes[(codes & NOT_A_NUMBER) == NOT_A_NUMBER] = 0
            found |= _matrix(f"{new}mlp.{part}.weight", codes.shape, codes.tobytes())
        found |= _matrix(f"{new}mlp.down_proj.weight", (hidden, width), bytes(hidden * width))
    return found


def _matrix(name: str, shape: tuple[int, ...], codes: bytes) -> Tensors:
    """A matrix of FP8 codes, and the scales of its blocks."""
    blocks = tuple(-(-side // FP8_BLOCK) for side in shape)
    scales = np.full(blocks, SPREAD, "<f4").tobytes()
    return {name: Stored("F8_E4M3", shape, codes), name + SCALE: Stored("F32", blocks, scales)}


if __name__ == "__main__":
    print(add_ballast(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5])) / 1e6, "M")
