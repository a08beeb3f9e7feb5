"""Proves that a config.json which is only unusual is converted to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    config,
    convert_to,
)
from support.gguf.reading import contents, metadata_changes

ABSENT = (  # without groups of experts, and without YaRN
    "expert_group_count",
    "expert_group_used_count",
    "expert_weights_norm",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier",
)
# what is changed in which checkpoint's config, and what the GGUF's metadata says otherwise then
FINE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "numbers that are whole": (
        "llama3",
        {"rope_theta": 500000, "rms_norm_eps": 1},
        {"llama.attention.layer_norm_rms_epsilon": 1.0},
    ),
    "nothing where nothing is needed": (
        "v3",
        {"rope_scaling": None, "scoring_func": ..., "norm_topk_prob": ..., "n_group": ...},
        {f"deepseek2.{key}": None for key in ABSENT},
    ),
    "keys that nobody knows": (
        "v3",
        {"auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "\x1b[2J": [[[]]]},
        {},
    ),
    "rope_parameters": (
        "llama3",
        {
            "rope_scaling": ...,
            "rope_theta": ...,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        {"llama.rope.freq_base": 1e4},
    ),
}


@pytest.mark.parametrize(("base", "changes", "said"), FINE.values(), ids=FINE)
def test_what_is_only_unusual_is_converted(
    base: str,
    changes: dict[str, Any],
    said: dict[str, Any],
    copy: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Proves that the weights are as without it, and what the header says."""
    folder = copy(base)
    convert_to(folder, tmp_path / "plain.gguf")
    config(**changes)(folder)
    convert_to(folder, tmp_path / "x.gguf")
    header, tensors = contents(tmp_path / "x.gguf")
    plain, weights = contents(tmp_path / "plain.gguf")
    weights.pop("rope_freqs.weight", None)  # made of rope_scaling
    tensors.pop("rope_freqs.weight", None)
    assert tensors == weights
    assert metadata_changes(plain, header) == said
