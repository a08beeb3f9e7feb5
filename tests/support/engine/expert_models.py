"""Small mixtures of experts of each shape that DeepSeek has published, in one file and several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter

SHAPES = ("deepseek-moe", "deepseek-v2-lite", "deepseek-v3", "deepseek-v4")
SPLITS = {
    "one file": converter.Split(),
    "split": converter.Split(size=500_000),
    "experts apart": converter.Split(experts=True),
}


def write_moe(
    folder: Path, shape: str, split: str = "one file", recipe: str = "Q8_0", **changes: Any
) -> Path:
    """Write a model of one of :data:`SHAPES` into ``folder``, and return the file to open.

    ``changes``: other values for its config.json.
    """
    checkpoint = write_checkpoint(folder / "checkpoint", shape, **changes)
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named(recipe)],
        split=SPLITS[split],
    )
    converter.write_gguf(plan, [folder / "model.gguf"], jobs=1)
    return min(folder.glob("*.gguf"))
