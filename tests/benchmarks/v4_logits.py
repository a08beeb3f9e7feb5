"""Compare logits of V4 and V3.2 with transformers', on 600 tokens of tiny random checkpoints.

So many that windows slide and compressed rows exist. Both sides compute in float32, flash attention
off: transformers reads what FP4 and FP8 stand for, llama.cpp our F32 conversion of the checkpoint
itself.

    DSLOCAL_ORACLE=FOLDER PYTHONPATH=tests python tests/benchmarks/v4_logits.py [CASE …]

FOLDER as tests/support/checkpoints/oracle.py says; its venv needs transformers 5.24 or newer. Ends
with 1 where a logit differs by more than 1e-4 at a standard deviation of 1, or an argmax at all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from support.checkpoints import tiny_v4
from support.checkpoints.oracle import ORACLE
from support.checkpoints.stored_tensors import write_safetensors
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

TOKENS = 600
TOLERANCE = 1e-4  # of logits of standard deviation 1
PRO: dict[str, Any] = {
    "compress_ratios": [128, 128, 4, 128, 4, 0],
    "num_attention_heads": 16,
    "o_groups": 16,
    "routed_scaling_factor": 2.5,
}
# 43 layers would take minutes: the pattern and the three trailing entries are 0731's
CASES: dict[str, dict[str, Any]] = {
    "v4": {"kind": "deepseek-v4", "dtype": "fp4"},
    "v4-base": {"kind": "deepseek-v4", "dtype": "fp8"},
    "v4-bf16": {"kind": "deepseek-v4", "dtype": "bf16", "seed": 1},
    "v4-0731": {
        "kind": "deepseek-v4-dspark",
        "dtype": "fp4",
        "num_hidden_layers": 43,
        "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0, 0, 0],
        "num_hash_layers": 3,
        "dspark_target_layer_ids": [40, 41, 42],
        "n_routed_experts": 4,
    },
    "v4-pro": {"kind": "deepseek-v4", "dtype": "fp4", **PRO},
    # seed 1 where seed 0 has a near tie, of experts or of rows, at which the two choose differently
    "v3.2": {"kind": "deepseek-v32", "dtype": "f32", "seed": 1},
}
_TRANSFORMERS = """
import sys
import numpy as np, torch
from transformers import AutoModelForCausalLM
folder, ids, out = sys.argv[1:]
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32, attn_implementation="eager"
).eval()
with torch.no_grad():
    logits = model(torch.tensor(np.load(ids))[None]).logits[0]
np.save(out, logits.float().numpy())
"""


def in_float32(case: dict[str, Any], folder: Path) -> Path:
    """Write the checkpoint's values in float32, for transformers."""
    write_checkpoint(folder, **{**case, "dtype": "f32"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if case["kind"].startswith("deepseek-v4"):
        stored = dict(tiny_v4.stored_tensors(config, case["dtype"], case.get("seed", 0)))
        write_safetensors(folder / "model.safetensors", tiny_v4.dequantized(stored))
    return folder


def llama_cpp_logits(path: Path, ids: list[int]) -> np.ndarray:
    """Return float32 ``[tokens, vocabulary]``."""
    rows = []
    config = LoadConfig(1024, kv_type=GgmlType.F32, flash_attn=False)
    with LlamaModel(path) as model, LlamaContext(model, config) as context:
        for end in range(1, len(ids) + 1):
            context.prefill(ids[:end])
            rows.append(context.logits().copy())
    return np.array(rows)


def compare(name: str, folder: Path) -> bool:
    """Print how far the two are apart; return whether that is little."""
    case = CASES[name]
    ids = np.random.default_rng(1).integers(3, 320, TOKENS)
    np.save(folder / "ids.npy", ids)
    reference = in_float32(case, folder / "float32")
    python = f"{ORACLE}/venv/bin/python"
    arguments = [str(reference), str(folder / "ids.npy"), str(folder / "logits.npy")]
    subprocess.run([python, "-c", _TRANSFORMERS, *arguments], check=True, capture_output=True)
    theirs = np.load(folder / "logits.npy")
    checkpoint = write_checkpoint(folder / "checkpoint", **case)
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named("F32")],
    )
    converter.write_gguf(plan, [folder / "out.gguf"])
    ours = llama_cpp_logits(folder / "out.gguf", [int(i) for i in ids])
    largest = float(np.abs(ours - theirs).max() / theirs.std())
    equal = float((ours.argmax(1) == theirs.argmax(1)).mean())
    print(f"{name}: largest difference {largest:.1e}, argmax equal in {equal:.1%}", flush=True)
    return largest <= TOLERANCE and equal == 1


def main() -> None:
    names = sys.argv[1:] or list(CASES)
    results = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            results.append(compare(name, Path(folder)))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
