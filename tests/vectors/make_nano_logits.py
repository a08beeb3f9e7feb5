"""Write nano_logits.npz: what transformers computes from the nano checkpoint, with which tests
compare dslocal's GGUF.

The tests run without torch, so the reference is computed once, here, by an implementation that
shares no code with llama.cpp or with our converter. FP8 weights become float32 by the definition
(e4m3 value times the scale of its 128x128 block, nothing rounded to bf16), the model runs in
float32 with eager attention, and the logits of the last positions of three prompts are kept. The
multi-token-prediction layer is not part of transformers' model and is skipped; every other key
must match.

    python tests/vectors/make_nano_logits.py [CHECKPOINT]

needs torch, transformers, tokenizers and safetensors; CHECKPOINT is dslocal/nano by default. The
first prompt is also answered greedily, and nothing is written unless the answer is 4042: wrong rope
settings load without a message and talk nonsense.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
OUT = HERE / "nano_logits.npz"
FRAME = "<｜begin▁of▁sentence｜><｜User｜>{}<｜Assistant｜><think>\n"
PROMPTS = {
    "arithmetic": FRAME.format("What is 47 × 86?"),
    "file": FRAME.format(
        "[file name]: conf.ini\n[file content begin]\nhost = alpha\nport = 8080\n[file content"
        " end]\nWhat is the port?"
    ),
    "chinese": FRAME.format("12加30等于多少？"),
}
KEPT = 8  # positions from the end
FP8_BLOCK = 128
Tensors = dict[str, torch.Tensor]


def read_float32(folder: Path) -> Tensors:
    """Every tensor of a checkpoint in float32, FP8 weights multiplied by their block scales."""
    found: Tensors = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as opened:
            found.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    return {
        name: dequantize(tensor, found[name + "_scale_inv"])
        if tensor.dtype == torch.float8_e4m3fn
        else tensor.float()
        for name, tensor in found.items()
        if not name.endswith("_scale_inv")
    }


def dequantize(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """e4m3 ``[rows, columns]`` times float32 ``[ceil(rows / 128), ceil(columns / 128)]``; one
    float32 product an element.
    """
    rows, columns = weight.shape
    spread = scale.repeat_interleave(FP8_BLOCK, 0)[:rows].repeat_interleave(FP8_BLOCK, 1)[
        :, :columns
    ]
    return weight.float() * spread


def load_model(folder: Path) -> transformers.PreTrainedModel:
    """transformers' model of a checkpoint folder, float32, eager; raises RuntimeError unless the
    trunk's keys match exactly.
    """
    settings = json.loads((folder / "config.json").read_text())
    settings.pop(
        "quantization_config", None
    )  # the weights are dequantized here, not by transformers
    config = transformers.AutoConfig.for_model(**settings)
    tensors = read_float32(folder)
    if config.tie_word_embeddings:
        tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    mtp = tuple(
        f"model.layers.{config.num_hidden_layers + i}."
        for i in range(settings.get("num_nextn_predict_layers") or 0)
    )
    trunk = {name: tensor for name, tensor in tensors.items() if not name.startswith(mtp)}
    return build_model(config, trunk)


def build_model(
    config: transformers.PreTrainedConfig, tensors: Mapping[str, torch.Tensor]
) -> transformers.PreTrainedModel:
    """The float32 model of ``config`` with ``tensors``, which must be exactly its own; eager
    attention, eager experts.
    """
    eager = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, **eager)
    model.load_state_dict(stack_experts(tensors), strict=True)
    wrong = [name for name, tensor in model.state_dict().items() if tensor.dtype != torch.float32]
    if wrong or (model.config._attn_implementation, model.config._experts_implementation) != (
        "eager",
        "eager",
    ):
        raise RuntimeError(f"not float32 and eager: {wrong or model.config}")
    return model.eval()


def stack_experts(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Expert matrices as transformers 5 holds them: gate_up_proj ``[E, 2 * ff, embd]`` and
    down_proj ``[E, embd, ff]``.
    """
    stacked = {name: tensor for name, tensor in tensors.items() if ".mlp.experts." not in name}
    layers: dict[str, set[int]] = {}
    for name in tensors:
        if match := re.fullmatch(r"(.*\.mlp\.experts)\.(\d+)\.\w+\.weight", name):
            layers.setdefault(match[1], set()).add(int(match[2]))
    for experts, numbers in layers.items():
        gate, up, down = (
            [tensors[f"{experts}.{e}.{part}_proj.weight"] for e in sorted(numbers)]
            for part in ("gate", "up", "down")
        )
        stacked[f"{experts}.gate_up_proj"] = torch.stack(
            [torch.cat(pair) for pair in zip(gate, up, strict=True)]
        )
        stacked[f"{experts}.down_proj"] = torch.stack(down)
    return stacked


def logits_of(
    model: transformers.PreTrainedModel, ids: list[int]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 ``[len(ids), n_vocab]``."""
    with torch.inference_mode():
        logits: np.ndarray[Any, np.dtype[np.float32]] = (
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
        )
    return logits


def greedy(model: transformers.PreTrainedModel, ids: list[int], most: int = 400) -> list[int]:
    """The ids that follow ``ids`` when the likeliest is always taken, up to end of sentence."""
    with torch.inference_mode():
        answer = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=most,
            do_sample=False,
        )
    following: list[int] = answer[0, len(ids) :].tolist()
    return following


def origin() -> str:
    """Where the numbers come from, to be stored beside them."""
    versions = ", ".join(
        f"{module.__name__} {module.__version__}"
        for module in (transformers, torch, tokenizers, np)
    )
    command = " ".join(
        ["python", str(Path("tests/vectors") / Path(sys.argv[0]).name), *sys.argv[1:]]
    )
    return (
        f"{versions}, float32 on CPU; Python {sys.version.split()[0]};"
        f" {datetime.now(UTC):%Y-%m-%d}; {command}"
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "dslocal" / "nano"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = load_model(folder)
    stored: dict[str, Any] = {}
    for name, prompt in PROMPTS.items():
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        answer = tokenizer.decode(greedy(model, ids), skip_special_tokens=False)
        print(f"--- {name}, {len(ids)} ids\n{answer}")
        if name == "arithmetic" and "4042" not in answer.partition("</think>")[2]:
            raise SystemExit("the answer should be 4042; nothing written")
        stored[f"{name}.prompt"] = np.array(prompt)
        stored[f"{name}.ids"] = np.array(ids, np.int32)
        stored[f"{name}.logits"] = logits_of(model, ids)[-KEPT:]
    np.savez_compressed(OUT, origin=np.array(origin()), **stored)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes; {origin()}")


if __name__ == "__main__":
    main()
