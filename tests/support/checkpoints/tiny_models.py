"""A tiny model of each kind as GGUF files, and a text that all of them can be measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dslocal.convert as converter

from .tiny_checkpoints import write_checkpoint

CHUNK = 64
TEXT = " ".join(f"{n} times {n + 3} is {n * (n + 3)}, and x{n} = f({n});" for n in range(60))
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dense": ("llama", "bf16", {}),
    "moe": ("deepseek-moe", "bf16", {"n_routed_experts": 16, "num_experts_per_tok": 2}),
    "mla": ("deepseek-v3", "bf16", {"num_nextn_predict_layers": 0}),
    "v4": ("deepseek-v4", "fp4", {}),
}


def write_models(folder: Path, kind: str, quants: Sequence[str]) -> list[Path]:
    """Write a model of :data:`KINDS` in each of ``quants``; return the files."""
    name, dtype, changes = KINDS[kind]
    checkpoint = write_checkpoint(folder / f"{kind}-checkpoint", name, dtype=dtype, **changes)
    source = converter.open_checkpoint(converter.FolderSource(checkpoint))
    recipes = [converter.recipe_named(quant) for quant in quants]
    files = [folder / f"{kind}-{quant}.gguf" for quant in quants]
    converter.write_gguf(converter.plan_conversion(source, recipes), files)
    return files
