"""Tiny DeepSeek-V4 on a GPU beside the CPU: the likeliest token at every position, and drafts that
change no text.

    python tests/benchmarks/v4_cuda.py [--tokens 600]

Needs a GPU that llama-cpp-python was built for; without one both sides are the CPU, and it says so.
The models are made here, with random float32 weights: one with an MTP layer, one with DSpark.
A GPU adds in another order, and in yet another one for each number of rows, so that a token may win
by less than that changes: positions at which the first two are closer than CLOSE are counted apart.
Ends with 1 if another token wins anywhere else, or a draft changes a text at another position.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dslocal.engine import LlamaContext, LlamaModel

# isort: split
# On a GPU numpy must come after llama_cpp (dslocal/gguf/libraries.py).
import numpy as np
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate

from dslocal.api.conversion import convert
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.speculation import enable_speculation
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

CLOSE = 0.02  # of the standard deviation of the logits there
KINDS = {"MTP": "deepseek-v4", "DSpark": "deepseek-v4-dspark"}
ON_CPU = LoadConfig(2048, kv_type=GgmlType.F32, flash_attn=False, n_outputs=6, mtp=True)
ON_GPU = replace(ON_CPU, n_gpu_layers=1000)
BATCH = 6
MAX_TOKENS = 100


def logits(path: Path, load_config: LoadConfig, ids: Sequence[int]) -> Any:
    """Logits after every id: float32 ``[ids, n_vocab]``."""
    plain = replace(load_config, mtp=False)
    with LlamaModel(path, plain) as model, LlamaContext(model, plain) as context:
        rows = []
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            context.evaluate(part, logits_from=0)
            rows += [context.logits(index).copy() for index in range(len(part))]
    return np.stack(rows)


def compare(path: Path, ids: Sequence[int]) -> bool:
    """Print how the two sides differ, and return whether the same tokens win."""
    cpu, gpu = (logits(path, load_config, ids) for load_config in (ON_CPU, ON_GPU))
    first_two = np.sort(cpu, axis=1)[:, -2:]
    is_close = (first_two[:, 1] - first_two[:, 0]) < CLOSE * cpu.std(axis=1)
    differs = cpu.argmax(axis=1) != gpu.argmax(axis=1)
    largest = np.abs(cpu - gpu).max(axis=1)
    print(
        f"{path.stem}: the same token wins at {np.sum(~differs)} of {len(ids)} positions; "
        f"{np.sum(differs & is_close)} of {np.sum(is_close)} close ones differ, "
        f"{np.sum(differs & ~is_close)} others; largest difference of a logit: median of the "
        f"positions {np.median(largest):.1e}, 99 % {np.quantile(largest, 0.99):.1e}, maximum "
        f"{largest.max():.1e}; their standard deviation {cpu.std():.2f}"
    )
    return not np.any(differs & ~is_close)


def is_near_tie(path: Path, prompt: Sequence[int], found: list[int], known: list[int]) -> bool:
    """Print where two texts part, and return whether the first two tokens are close there."""
    at = next(n for n, pair in enumerate(zip(found, known, strict=False)) if pair[0] != pair[1])
    row = logits(path, ON_GPU, [*prompt, *known[:at]])[-1]
    second, first = np.sort(row)[-2:]
    gap = (first - second) / row.std()
    print(f"  parts at token {at} of {len(known)}: the first two are {gap:.1e} deviations apart")
    return bool(gap < CLOSE)


def draft(path: Path, ids: Sequence[int], what: str) -> bool:
    """Print what drafting does on the GPU, and return whether the text is that without."""
    sidecar = path.with_name(f"{path.stem}-mtp.gguf")
    with LlamaModel(path, ON_GPU) as model, LlamaModel(sidecar, ON_GPU) as layer:
        with LlamaContext(model, ON_GPU) as plain:
            known = generate(plain, ids, max_tokens=MAX_TOKENS).ids
        with LlamaContext(model, ON_GPU) as context:
            speculation = enable_speculation(context, "on", layer)
            if speculation is None:
                return False
            speculation.draft_length = DraftLength([3], optional=False)
            found = generate(context, ids, max_tokens=MAX_TOKENS)
    print(
        f"{path.stem}: {what} drafted {found.drafted}, {found.accepted} right; same text: "
        f"{found.ids == known}; error: {speculation.error}"
    )
    is_same = found.ids == known or is_near_tie(path, ids, found.ids, known)
    return is_same and speculation.error is None and found.drafted > 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=600)
    args = parser.parse_args()
    gpus = [device for device in libraries.devices() if device.kind == libraries.GPU]
    print(f"GPU: {gpus[0].description if gpus else 'none, both sides are the CPU'}")
    drawn = random.Random(1)
    ids = [drawn.randrange(10, 300) for _ in range(args.tokens)]
    is_right = True
    with tempfile.TemporaryDirectory() as temporary:
        for what, kind in KINDS.items():
            folder = Path(temporary)
            write_checkpoint(folder / kind, kind, dtype="f32")
            path = folder / f"{kind}.gguf"
            convert(folder / kind, path, quant="F32", mtp="beside")
            is_right = compare(path, ids) and is_right
            is_right = draft(path, ids[:300], what) and is_right
    print("as it should be" if is_right else "WRONG")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
