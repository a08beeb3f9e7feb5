"""Planning all of DeepSeek-V3, 671B with its MTP layer, from headers alone: time, and how close
--size lands.

    python tests/benchmarks/plan_v3.py [SIZE …]

The 62 shards are sparse files with real headers; nothing but headers is read.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.checkpoints.tiny_checkpoints import write_checkpoint
from v3_layer_memory import EMBD, REAL, SIZES, shapes
from v3_shape import CONFIG

import dslocal.convert as converter
from dslocal.api.arguments.sizes import size_in_bytes

VOCAB = 129280
LAYERS = 61
DENSE = 3


def layer(number: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    found = {}
    for name, entry in shapes().items():
        if name.startswith("model.layers.0.") and (number >= DENSE or ".mlp." not in name):
            found[name.replace(".0.", f".{number}.", 1)] = entry
    p = f"model.layers.{number}."
    if number < DENSE:
        for name, shape in (
            ("gate_proj", (18432, EMBD)),
            ("up_proj", (18432, EMBD)),
            ("down_proj", (EMBD, 18432)),
        ):
            found[f"{p}mlp.{name}.weight"] = ("F8_E4M3", shape)
            found[f"{p}mlp.{name}.weight_scale_inv"] = ("F32", (shape[0] // 128, shape[1] // 128))
    if number == 0:
        found["model.embed_tokens.weight"] = ("BF16", (VOCAB, EMBD))
    if number == LAYERS - 1:
        found |= {"lm_head.weight": ("BF16", (VOCAB, EMBD)), "model.norm.weight": ("BF16", (EMBD,))}
    if number == LAYERS:
        found |= {
            f"{p}{name}.weight": ("BF16", (EMBD,))
            for name in ("enorm", "hnorm", "shared_head.norm")
        }
        found[f"{p}eh_proj.weight"] = ("BF16", (EMBD, 2 * EMBD))
    return found


def write(folder: Path) -> None:
    write_checkpoint(folder, "deepseek-v3")
    (folder / "model.safetensors").unlink()
    where = {}
    for number in range(LAYERS + 1):
        header = {}
        end = 0
        shard = f"model-{number:05d}.safetensors"
        for name, (dtype, shape) in layer(number).items():
            size = SIZES[dtype]
            for n in shape:
                size *= n
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            where[name] = shard
            end += size
        text = json.dumps(header).encode()
        with (folder / shard).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    config = {
        **CONFIG,
        **REAL,
        "num_hidden_layers": LAYERS,
        "first_k_dense_replace": DENSE,
        "vocab_size": VOCAB,
        "num_nextn_predict_layers": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))


def main(sizes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        print("| --size | planned bytes | of the budget | seconds |\n|---|---|---|---|")
        for text in sizes:
            budget = size_in_bytes(text)
            began = time.perf_counter()
            checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
            plan = converter.plan_conversion(checkpoint, [converter.SizedRecipe(text, budget)])
            seconds = time.perf_counter() - began
            size = plan.layouts[0].data_size
            print(f"| {text} | {size:,} | {size / budget:.4f} | {seconds:.2f} |")
        weights = sum(tensor.elements for tensor in plan.tensors)
        print(f"{weights / 1e9:.1f}B weights in {len(checkpoint.tensors):,} source tensors")


if __name__ == "__main__":
    main(sys.argv[1:] or ["250GB", "320GB", "404GB", "500GB"])
