"""Compare logits of V4 and V3.2 with transformers', on 600 tokens of tiny random checkpoints.

So many that windows slide and compressed rows exist. Both sides compute in float32, flash attention
off: transformers reads what FP4 and FP8 stand for, llama.cpp our F32 conversion of the checkpoint
itself.

    DSLOCAL_ORACLE=FOLDER python tests/benchmarks/v4_logits.py [--seeds N] [CASE …]

FOLDER as tests/support/checkpoints/oracle.py says; its venv needs transformers 5.24 or newer.
Transformers follows llama.cpp's choices of experts and of compressed rows (v4_reference.py says
why), and what a choice costs by its own scores must be no more than the logits may differ: it is
then one of several that are right within float32. Ends with 1 where a logit differs or a choice
costs more than 1e-4 at a standard deviation of 1, or where an argmax differs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from support.checkpoints import tiny_v4
from support.checkpoints.oracle import ORACLE
from support.checkpoints.stored_tensors import write_safetensors
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph.eval_callback import EvalCallback, GraphObserver
from dslocal.engine.graph.graph_tensor import GraphTensor
from dslocal.engine.graph.node_values import NodeValues
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
    "v4-bf16": {"kind": "deepseek-v4", "dtype": "bf16"},
    "v4-0731": {
        "kind": "deepseek-v4-dspark",
        "dtype": "fp4",
        "num_hidden_layers": 43,
        "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0, 0, 0],
        "num_hash_layers": 3,
        "dspark_target_layer_ids": [40, 41, 42],
        "n_routed_experts": 4,
    },
    "v4-vision": {
        "kind": "deepseek-v4-dspark",
        "dtype": "fp4",
        "vision_n_layers": 2,
        "num_nextn_predict_layers": 3,
        "rms_norm_eps": 1e-20,
    },
    "v4-pro": {"kind": "deepseek-v4", "dtype": "fp4", **PRO},
    "v3.2": {"kind": "deepseek-v32", "dtype": "f32"},
}
REFERENCE = Path(__file__).with_name("v4_reference.py")
# the nodes of llama.cpp's graphs that hold choices; src/models/deepseek4.cpp, deepseek32.cpp
NODES = {
    b"lid_top_k": "rows",
    b"top_k": "rows",
    b"ffn_moe_topk": "experts",
    b"ffn_moe_group_topk": "groups",
}


class ChoiceRecorder(GraphObserver):
    """Records what llama.cpp chooses while it evaluates one token at a time."""

    def __init__(self) -> None:
        self._values = NodeValues()
        self._found: defaultdict[str, list[np.ndarray]] = defaultdict(list)

    def wants(self, address: int) -> bool:
        name, _, layer = _name_at(address).partition(b"-")
        return name in NODES and layer.isdigit()

    def take(self, address: int) -> None:
        name, _, layer = _name_at(address).partition(b"-")
        chosen = self._values.copy(address).ravel()
        self._found[f"{NODES[name]}.{layer.decode()}"].append(chosen)

    def choices(self) -> dict[str, np.ndarray]:
        """Return int32 ``[tokens, k]`` by what was chosen and the layer, such as ``rows.2``."""
        return {name: np.array(rows) for name, rows in self._found.items()}


def _name_at(address: int) -> bytes:
    return ctypes.string_at(address + GraphTensor.name.offset)


def in_float32(case: dict[str, Any], folder: Path) -> Path:
    """Write the checkpoint's values in float32, for transformers."""
    write_checkpoint(folder, **{**case, "dtype": "f32"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if case["kind"].startswith("deepseek-v4"):
        stored = dict(tiny_v4.stored_tensors(config, case["dtype"], case.get("seed", 0)))
        write_safetensors(folder / "model.safetensors", tiny_v4.dequantized(stored))
    return folder


def llama_cpp_logits(path: Path, ids: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return float32 ``[tokens, vocabulary]`` and the choices that led there."""
    rows = []
    config = LoadConfig(1024, kv_type=GgmlType.F32, flash_attn=False)
    recorder = ChoiceRecorder()
    with (
        LlamaModel(path) as model,
        LlamaContext(model, config, n_threads=1, eval_callback=EvalCallback(recorder)) as context,
    ):
        for token in ids:
            context.evaluate([token])
            rows.append(context.logits().copy())
    return np.array(rows), recorder.choices()


def compare(name: str, seed: int, folder: Path) -> bool:
    """Print how far the two are apart; return whether that is little."""
    case = {**CASES[name], "seed": seed}
    ids = np.random.default_rng(1).integers(3, 320, TOKENS)
    np.save(folder / "ids.npy", ids)
    checkpoint = write_checkpoint(folder / "checkpoint", **case)
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named("F32")],
    )
    converter.write_gguf(plan, [folder / "out.gguf"])
    ours, choices = llama_cpp_logits(folder / "out.gguf", [int(i) for i in ids])
    np.savez(folder / "choices.npz", allow_pickle=False, **choices)
    in_float32(case, folder / "float32")
    command = [f"{ORACLE}/venv/bin/python", str(REFERENCE), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    reference = np.load(folder / "reference.npz")
    theirs = reference["logits"]
    largest = float(np.abs(ours - theirs).max() / theirs.std())
    equal = float((ours.argmax(1) == theirs.argmax(1)).mean())
    cost = float(reference["cost"])
    print(
        f"{name}, seed {seed}: largest difference {largest:.1e}, argmax equal in {equal:.1%};"
        f" {int(reference['different'])} of {int(reference['choices']):,} choices differ from"
        f" transformers' own and cost at most {cost:.1e}",
        flush=True,
    )
    return largest <= TOLERANCE and cost <= TOLERANCE and equal == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--seeds", type=int, default=3, help="of weights: 0 and on (default 3)")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    results = []
    for name in arguments.cases or CASES:
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                results.append(compare(name, seed, Path(folder)))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
