"""Proves that nothing is made of a size that a config.json claims, or of a depth that it has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints.config_keys import INTEGERS, OPTIONAL
from support.checkpoints.damage import (
    config,
    entry,
    refusal,
    several,
    with_tensor,
)

CONFIG = "config.json"
SIZES = (
    1 << 24,
    (1 << 24) - 1,
    10**6,
)  # not absurd to the eye, and fatal if something of that size were made
DEPTH = 300  # tried below the recursion limit, where parsing still works and printing does not


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("base", "keys"), INTEGERS.items(), ids=INTEGERS)
def test_large_numbers_take_no_memory(
    base: str, keys: tuple[str, ...], size: int, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = copy(base), tmp_path / "out"
    out.mkdir()
    original = (folder / CONFIG).read_bytes()
    for key in (*keys, *(OPTIONAL if base == "v3" else ())):
        if key in ("max_position_embeddings", "first_k_dense_replace"):
            continue  # bound to nothing in the file
        (folder / CONFIG).write_bytes(original)
        config(**{key: size})(folder)
        refusal(folder, out)


def test_a_large_head_takes_no_memory(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder, out = copy("llama3"), tmp_path / "out"
    out.mkdir()
    config(head_dim=1 << 24)(folder)
    assert refusal(folder, out).tensor == "model.layers.0.self_attn.q_proj.weight"


def test_many_experts_take_no_memory(copy: Callable[[str], Path], tmp_path: Path) -> None:
    """The router says that there are as many as config.json says, in a file that is nearly all
    hole.
    """
    folder, out = copy("v3"), tmp_path / "out"
    out.mkdir()
    experts, router = 1 << 24, "model.layers.1.mlp.gate.weight"
    shard = "model-00002-of-00002.safetensors"
    several(
        config(n_routed_experts=experts), with_tensor(shard, router, "BF16", [4, 32], bytes(256))
    )(folder)
    size = (folder / shard).stat().st_size - 256
    with (folder / shard).open("r+b") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    end = size - header + experts * 64
    entry(shard, router, shape=[experts, 32], data_offsets=[size - header, end])(folder)
    with (folder / shard).open("r+b") as file:
        file.truncate(8 + int.from_bytes(file.read(8), "little") + end)
    error = refusal(folder, out)
    assert error.tensor == "model.layers.1.mlp.experts.4.gate_proj.weight"


@pytest.mark.parametrize(
    "key",
    [
        "num_hidden_layers",
        "rms_norm_eps",
        "tie_word_embeddings",
        "scoring_func",
        "rope_scaling",
        "architectures",
    ],
)
def test_values_too_deep_to_print(key: str, copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder, out = copy("v3"), tmp_path / "out"
    out.mkdir()
    original = (folder / CONFIG).read_bytes()[:-2]
    limit = sys.getrecursionlimit()
    for depth in range(limit - DEPTH, limit + 1, 3):
        (folder / CONFIG).write_bytes(original + f',"{key}":{"[" * depth}{"]" * depth}}}'.encode())
        refusal(folder, out)
