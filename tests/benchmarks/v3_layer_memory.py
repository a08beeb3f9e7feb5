"""Peak memory of converting one full-size DeepSeek-V3 MoE layer: 256 experts of 2048 x 7168 in FP8,
11.3 GB, to Q4_K_M.

    python tests/benchmarks/v3_layer_memory.py [FOLDER]

The shards are sparse files (all weights zero), so the source takes no room; the output takes 6.5 GB
in FOLDER. Prints the largest resident set of the converting process, in which pages of the page
cache that it does not map do not count.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.checkpoints.tiny_checkpoints import write_checkpoint
from v3_shape import CONFIG

EMBD = 7168
FF = 2048
EXPERTS = 256
SIZES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
REAL = {
    "hidden_size": EMBD,
    "intermediate_size": 18432,
    "moe_intermediate_size": FF,
    "n_routed_experts": EXPERTS,
    "num_hidden_layers": 1,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "first_k_dense_replace": 0,
}


def shapes() -> dict[str, tuple[str, tuple[int, ...]]]:
    p = "model.layers.0."
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("BF16", (320, EMBD)),
        "model.norm.weight": ("BF16", (EMBD,)),
        "lm_head.weight": ("BF16", (320, EMBD)),
        f"{p}input_layernorm.weight": ("BF16", (EMBD,)),
        f"{p}post_attention_layernorm.weight": ("BF16", (EMBD,)),
        f"{p}self_attn.q_a_layernorm.weight": ("BF16", (1536,)),
        f"{p}self_attn.kv_a_layernorm.weight": ("BF16", (512,)),
        f"{p}mlp.gate.weight": ("BF16", (EXPERTS, EMBD)),
        f"{p}mlp.gate.e_score_correction_bias": ("F32", (EXPERTS,)),
    }
    attention = {
        "q_a_proj": (1536, EMBD),
        "q_b_proj": (128 * 192, 1536),
        "kv_a_proj_with_mqa": (576, EMBD),
        "kv_b_proj": (128 * 256, 512),
    }
    matrices = {
        f"self_attn.{name}": shape
        for name, shape in {**attention, "o_proj": (EMBD, 128 * 128)}.items()
    }
    for part in [f"mlp.experts.{e}" for e in range(EXPERTS)] + ["mlp.shared_experts"]:
        matrices |= {
            f"{part}.gate_proj": (FF, EMBD),
            f"{part}.up_proj": (FF, EMBD),
            f"{part}.down_proj": (EMBD, FF),
        }
    for name, (rows, columns) in matrices.items():
        found[f"{p}{name}.weight"] = ("F8_E4M3", (rows, columns))
        found[f"{p}{name}.weight_scale_inv"] = ("F32", (-(-rows // 128), -(-columns // 128)))
    return found


def write(folder: Path) -> None:
    write_checkpoint(folder, "deepseek-v3")
    header, end = {}, 0
    for name, (dtype, shape) in shapes().items():
        size = SIZES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **REAL}))
    print(f"source: {end / 1e9:.1f} GB")


def main(where: str | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        folder = Path(temporary)
        write(folder / "source")
        out = folder / "layer.gguf"
        command = [
            sys.executable,
            "-P",
            "-m",
            "dslocal",
            "convert",
            str(folder / "source"),
            "-o",
            str(out),
            "--quant",
            "Q4_K_M",
        ]
        done = subprocess.run(
            ["/usr/bin/time", "-v", *command], capture_output=True, text=True, check=False
        )
        print(done.stdout.strip() or done.stderr[-1000:])
        peak = re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr)
        print(f"peak resident memory: {int(peak[1]) / 1024:,.0f} MiB" if peak else "no figure")


if __name__ == "__main__":
    main(*sys.argv[1:2])
