"""Write tiny_logits.npz: transformers' logits for the random checkpoints of
tests/support/checkpoints/tiny_checkpoints.py, one or two for each family.

What make_nano_logits.py does for one trained model, this does for the architectures: same loading
(float32, FP8 weights dequantized by the definition, strict keys, eager attention), twelve fixed
ids, the logits of all positions. The file holds, for each key, ``KEY.case`` (JSON, the keyword
arguments of ``write_checkpoint``), ``KEY.crc32`` of the weights file that was read (a test should
check it before it blames a converter), ``KEY.logits``; and once ``ids`` and ``origin``. V3.2 and V4
choose earlier positions: they have ids of their own, ``KEY.ids``, more than they choose, and the
logits of the last positions.

    python tests/vectors/make_tiny_logits.py

needs torch, transformers, tokenizers and safetensors. Where transformers differs:

* ``deepseek-v2``, group-limited routing: transformers ranks groups by their best expert, as
  DeepSeek does, llama.cpp by the sum of the best two; so the case here has one group, which tests
  everything else of V2.
* ``deepseek-moe`` is not in transformers; the weights are run through Qwen2Moe, which is the same
  arithmetic when its shared expert's gate is zero (a factor of 1/2) and the shared down projection
  doubled, both of which are exact.
* ``qwen3``: transformers does not know the ``attn_factor`` of R1-0528-Qwen3-8B's rope_scaling and
  warns that it ignores it. YaRN's own code multiplies by it, which cancels the usual
  1 + 0.1 ln(factor) to 1.0; ``qwen3-attention-factor`` sets it by a key that transformers knows.
  The two differ by 28 % of the largest logit.
* ``deepseek-v4`` is loaded by transformers itself, which renames the published tensors.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_nano_logits import HERE, build_model, load_model, logits_of, origin, read_float32

sys.path.insert(0, str(HERE.parent))
from support.checkpoints.tiny_checkpoints import write_checkpoint

OUT = HERE / "tiny_logits.npz"
IDS = [5, 40, 260, 17, 128, 255, 64, 64, 9, 211, 199, 33]
ONE_GROUP = {"topk_method": "greedy", "n_group": 1, "topk_group": 1}
ATTENTION_FACTOR = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32768,
    "attention_factor": 1.0,
}
# Ids of models that choose earlier positions, generated from 7: more than V3.2's index_topk of 64;
# for V4 more than its window and two compressed blocks of 128.
N_LONG = {"deepseek-v32": 160, "deepseek-v4": 300}
KEPT = 8  # of their positions, from the end
CASES: dict[str, dict[str, Any]] = {
    "deepseek-v3": {"kind": "deepseek-v3"},
    "deepseek-v3-fp8": {"kind": "deepseek-v3", "dtype": "fp8"},
    "deepseek-v2-lite": {"kind": "deepseek-v2-lite"},
    "deepseek-v2": {"kind": "deepseek-v2", **ONE_GROUP},
    "deepseek-moe": {"kind": "deepseek-moe"},
    "qwen3-attention-factor": {"kind": "qwen3", "rope_scaling": ATTENTION_FACTOR},
    "deepseek-v32": {"kind": "deepseek-v32", "dtype": "f32"},
    "deepseek-v4": {"kind": "deepseek-v4", "dtype": "f32"},
    **{
        kind: {"kind": kind}
        for kind in ("llama", "llama-linear", "llama3", "qwen2", "qwen2-tied", "qwen3")
    },
}


def load_deepseek_moe(folder: Path) -> transformers.PreTrainedModel:
    """DeepSeekMoE-16B's class as a Qwen2Moe with the same function."""
    settings = json.loads((folder / "config.json").read_text())
    shared = settings["n_shared_experts"] * settings["moe_intermediate_size"]
    config = transformers.Qwen2MoeConfig(
        **{
            key: value
            for key, value in settings.items()
            if key not in ("architectures", "model_type", "rope_scaling")
        },
        num_experts=settings["n_routed_experts"],
        shared_expert_intermediate_size=shared,
        mlp_only_layers=list(range(settings["first_k_dense_replace"])),
        qkv_bias=False,
    )
    tensors = {}
    for name, tensor in read_float32(folder).items():
        tensors[name.replace("shared_experts", "shared_expert")] = (
            tensor * 2 if name.endswith("shared_experts.down_proj.weight") else tensor
        )
        if name.endswith("mlp.gate.weight"):
            tensors[name.replace("mlp.gate", "mlp.shared_expert_gate")] = torch.zeros(
                1, settings["hidden_size"]
            )
    return build_model(config, tensors)


def load_deepseek_v4(folder: Path) -> transformers.PreTrainedModel:
    """V4 as transformers loads it, all its weights from the file."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    if report["missing_keys"] or report["mismatched_keys"]:
        raise RuntimeError(f"not in the file: {report}")
    return model.eval()


LOADERS = {"deepseek-moe": load_deepseek_moe, "deepseek-v4": load_deepseek_v4}


def ids_of(key: str) -> list[int]:
    """The ids that a case is evaluated on."""
    if key not in N_LONG:
        return IDS
    return [int(i) for i in np.random.default_rng(7).integers(4, 256, N_LONG[key])]


def main() -> None:
    stored: dict[str, Any] = {"origin": np.array(origin()), "ids": np.array(IDS, np.int32)}
    for key, case in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = write_checkpoint(Path(scratch), **case)
            model = LOADERS.get(case["kind"], load_model)(folder)
            stored[f"{key}.case"] = np.array(json.dumps(case))
            stored[f"{key}.crc32"] = np.array(
                zlib.crc32((folder / "model.safetensors").read_bytes()), np.uint32
            )
            logits = logits_of(model, ids_of(key))
            if key in N_LONG:
                stored[f"{key}.ids"] = np.array(ids_of(key), np.int32)
                logits = logits[-KEPT:]
            stored[f"{key}.logits"] = logits
        print(f"{key}: std {logits.std():.3f}, largest {np.abs(logits).max():.3f}")
    np.savez_compressed(OUT, **stored)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes; {origin()}")


if __name__ == "__main__":
    main()
