"""llama.cpp's own converter and llama-quantize, where DSLOCAL_ORACLE names a folder that holds
them; and the cases they are asked.

The folder holds ``src`` (llama.cpp's source), ``bin`` (its tools) and ``venv`` (a Python with torch
and transformers). The converter is run on vocabularies that it does not know, so it is set to
take them as deepseek-v3, and to keep V3's MTP block.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ORACLE = os.environ.get("DSLOCAL_ORACLE", "")

# everything that needs no importance matrix
PLAIN = (
    "F32",
    "F16",
    "BF16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_1",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_1",
    "Q4_0",
    "IQ4_XS",
    "IQ4_NL",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "IQ3_M",
    "IQ3_S",
    "Q2_K",
    "MXFP4_MOE",
    "TQ2_0",
)
WITH_IMATRIX = (
    "IQ3_XS",
    "IQ3_XXS",
    "IQ2_M",
    "IQ2_S",
    "IQ2_XS",
    "IQ2_XXS",
    "IQ1_M",
    "IQ1_S",
    "Q2_K_S",
    "Q4_K_M",
    "Q4_0",
    "IQ4_XS",
)


@dataclass(frozen=True)
class Case:
    """A checkpoint of tiny_checkpoints.py. No real model has 8 experts, for which llama-quantize
    has special rules.
    """

    kind: str
    dtype: str = "bf16"
    shards: int = 1
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        changed = "".join(f" {key}={value}" for key, value in self.changes.items())
        return f"{self.kind} {self.dtype} {self.shards}{changed}"

    @property
    def mtp(self) -> bool:
        """Return whether the checkpoint has an MTP layer."""
        return self.kind == "deepseek-v3" and self.changes.get("num_nextn_predict_layers") != 0

    @property
    def arguments(self) -> dict[str, Any]:
        return {"kind": self.kind, "dtype": self.dtype, "shards": self.shards, **self.changes}


FEW_EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
V32_CHANGES = {"n_routed_experts": 12, "moe_intermediate_size": 256}
CASES = (
    Case("deepseek-v3", "fp8", changes={"n_routed_experts": 16}),
    Case(
        "deepseek-v3",
        "fp8",
        3,
        {"n_routed_experts": 16, "hidden_size": 192, "moe_intermediate_size": 160},
    ),
    Case(
        "deepseek-v3",
        "fp8",
        changes={**FEW_EXPERTS, "n_group": 2, "topk_group": 1, "num_hidden_layers": 8},
    ),
    Case("deepseek-v32", "fp8", 3, V32_CHANGES),
    Case("deepseek-v2-lite"),
    Case("deepseek-v2", changes={"n_routed_experts": 16}),
    Case("deepseek-moe", changes={**FEW_EXPERTS, "num_hidden_layers": 9}),
    Case("llama", changes={"num_hidden_layers": 10}),
    Case("llama-linear", changes={"hidden_size": 224}),
    Case("llama3"),
    Case("llama", "f16"),
    Case("llama", "f32"),
    Case("qwen2", changes={"num_hidden_layers": 17}),
    Case("qwen2-tied"),
    Case("qwen3"),
)
# V4's converter writes one file, whatever type is asked of it: recipe MXFP4
V4_CASES = (
    Case("deepseek-v4", "fp4"),
    Case(  # as V4-Flash-Vision-Exp
        "deepseek-v4-dspark",
        "fp4",
        3,
        {"vision_n_layers": 2, "num_nextn_predict_layers": 3, "rms_norm_eps": 1e-20},
    ),
    Case("deepseek-v4-dspark", "fp4"),
    Case(  # as V4-Pro: no layer without compression, twice the groups
        "deepseek-v4",
        "fp4",
        changes={
            "compress_ratios": [128, 128, 4, 128, 4, 0],
            "num_attention_heads": 16,
            "o_groups": 16,
            "routed_scaling_factor": 2.5,
        },
    ),
)
V4_PLAIN = ("MXFP4", "MXFP4_MOE", "Q8_0", "Q4_K_M", "Q2_K")
V4_WITH_IMATRIX = ("IQ2_XXS", "IQ3_XXS", "Q4_K_M")
V4_DRAFTERS = {"deepseek-v4": "--mtp", "deepseek-v4-dspark": "--dspark"}
# the converter, kept from dropping the MTP layer, also keeps its copy of the embeddings, which no
# importance matrix knows
IMATRIX_CASES = (
    Case("deepseek-v3", "fp8", changes={**CASES[2].changes, "num_nextn_predict_layers": 0}),
    Case("llama", changes={"num_hidden_layers": 10}),
    Case("deepseek-v32", "fp8", changes={**V32_CHANGES, "num_nextn_predict_layers": 0}),
)

# what other quantizations are made of, by the kind of model: a checkpoint, and the types of sources
REQUANTIZED = {
    "dense": (Case("llama", changes={"num_hidden_layers": 10}), ("BF16", "F16", "Q8_0", "Q4_0")),
    "moe": (
        Case("deepseek-moe", changes={"n_routed_experts": 16, "moe_intermediate_size": 256}),
        ("BF16", "Q8_0"),
    ),
    "mla": (
        Case("deepseek-v3", "fp8", 1, {"n_routed_experts": 16, "moe_intermediate_size": 256}),
        ("BF16", "Q8_0", "Q3_K_M"),
    ),
    "v3.2": (Case("deepseek-v32", "fp8", 1, V32_CHANGES), ("Q8_0",)),
    "v4": (V4_CASES[0], ("MXFP4",)),
}
REQUANTIZED_TO = ("Q4_K_M", "Q8_0", "Q2_K", "IQ2_XXS", "MXFP4_MOE", "F16")

_CONVERT = """
import runpy, sys
src, *rest = sys.argv[1:]
sys.path[:0] = [src, src + "/gguf-py"]
import conversion.base as base
known = base.TextModel.get_vocab_base_pre
def pre(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        return "deepseek-v3"
base.TextModel.get_vocab_base_pre = pre
import conversion.deepseek as deepseek
# V3.2's asks transformers for a BOS that the published tokenizer does not add
deepseek.DeepseekV32Model.set_vocab = lambda self: self._set_vocab_gpt2()
if "--with-mtp" in rest:
    rest.remove("--with-mtp")
    import gguf
    V2 = deepseek.DeepseekV2Model
    V2.skip_mtp = False
    init, parameters = V2.__init__, V2.set_gguf_parameters
    def __init__(self, *a, **k):
        init(self, *a, **k)
        if type(self) is V2:
            self.block_count = self.hparams["num_hidden_layers"] + 1
            self.tensor_map = gguf.get_tensor_name_map(self.model_arch, self.block_count)
    def set_gguf_parameters(self):
        parameters(self)
        self.gguf_writer.add_nextn_predict_layers(1)
    V2.__init__, V2.set_gguf_parameters = __init__, set_gguf_parameters
sys.argv = ["convert_hf_to_gguf.py", *rest]
runpy.run_path(src + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def convert(
    checkpoint: Path, out: Path, dtype: str, *, mtp: bool = False, drafter: str = ""
) -> Path:
    """Run llama.cpp's converter. ``drafter``: --mtp or --dspark writes V4's draft model."""
    source = f"{ORACLE}/src"
    command = [
        f"{ORACLE}/venv/bin/python",
        "-c",
        _CONVERT,
        source,
        str(checkpoint),
        "--outtype",
        dtype,
        "--outfile",
        str(out),
    ]
    if drafter == "--dspark":
        command += ["--target-model-dir", str(checkpoint)]
    _run([*command, *(["--with-mtp"] if mtp else []), *([drafter] if drafter else [])])
    return out


def two_steps(
    case: Case, checkpoint: Path, folder: Path, recipe: str, imatrix: Path | None = None
) -> Path:
    """Run the converter to bf16 (f16 and f32 sources keep their type), then llama-quantize; only
    the converter for F32, F16 and BF16.
    """
    mtp, out = case.mtp, folder / f"oracle-{recipe}.gguf"
    if recipe in ("F32", "F16", "BF16"):
        return convert(checkpoint, out, recipe.lower(), mtp=mtp)
    first = folder / "oracle.gguf"
    if not first.exists():
        dtype = "bf16" if case.dtype in ("fp8", "fp4") else case.dtype
        convert(checkpoint, first, dtype, mtp=mtp)
    if recipe == "MXFP4" and case.dtype == "fp4":
        return first
    _run(
        [
            f"{ORACLE}/bin/llama-quantize",
            *(["--allow-requantize"] if case.dtype == "fp4" else []),
            *(["--imatrix", str(imatrix)] if imatrix else []),
            str(first),
            str(out),
            recipe,
        ]
    )
    return out


def measured_checkpoint(folder: Path) -> Path:
    """Write the checkpoint of which moe.imatrix.gguf is the matrix."""
    from .tiny_checkpoints import write_checkpoint

    changes = {"n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
    return write_checkpoint(folder, "deepseek-moe", dtype="bf16", **changes)


def write_source(checkpoint: Path, out: Path, recipe: str) -> Path:
    """Convert a checkpoint with dslocal, to a file that other quantizations are made of."""
    import dslocal.convert as converter

    files = converter.FolderSource(checkpoint)
    recipes = [converter.recipe_named(recipe)]
    plan = converter.plan_conversion(converter.open_checkpoint(files), recipes)
    converter.write_gguf(plan, [out])
    return out


def requantize(source: Path, out: Path, recipe: str, imatrix: Path | None = None) -> Path:
    """Run llama-quantize on a GGUF that may be quantized already."""
    matrix = ["--imatrix", str(imatrix)] if imatrix else []
    binary = f"{ORACLE}/bin/llama-quantize"
    _run([binary, "--allow-requantize", *matrix, str(source), str(out), recipe])
    return out


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(
            f"{command[0]}: {(done.stdout + done.stderr)[-2000:].decode('utf-8', 'replace')}"
        )
