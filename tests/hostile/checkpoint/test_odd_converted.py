"""Prove that odd but real checkpoints convert to the bytes of plain ones.

Odd is what people really have: shards without an index, links to another disk, byte order marks, an
MTP layer that is announced and not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    FIRST,
    INDEX,
    SECOND,
    SINGLE,
    Damage,
    config,
    content,
    convert_to,
    in_json,
    refusal,
    removed,
    several,
    without,
)
from support.checkpoints.oddities import (
    MARK,
    SETTINGS,
    copied,
    linked_to_the_cache,
    listed,
    new,
    planned,
    renamed,
)
from support.gguf.reading import contents, metadata_changes

import dslocal.convert as converter


def no_index() -> Damage:
    return removed(INDEX)


def linked_elsewhere(folder: Path) -> None:
    """Move the shards to another disk, and leave links."""
    other = folder.parent / "bigdisk"
    other.mkdir()
    for shard in folder.glob("*.safetensors"):
        target = shard.rename(other / shard.name)
        shard.symlink_to(target)


def marked(*files: str) -> Damage:
    return several(*(content(file, lambda old: MARK + old) for file in files))


# what is odd, of which base, and what the GGUF's metadata says otherwise than without it
FINE: dict[str, tuple[Damage, str, dict[str, Any]]] = {
    "block scales that only the index has": (
        listed("model.embed_tokens.weight_scale_inv"),
        "v3",
        {},
    ),
    "an index with paths": (
        in_json(
            INDEX,
            lambda index: {
                "weight_map": {name: f"./{shard}" for name, shard in index["weight_map"].items()}
            },
        ),
        "v3",
        {},
    ),
    "notes of macOS beside the files": (
        several(
            no_index(),
            new(f"._{FIRST}", b"\0\x05\x16\x07"),
            new("._config.json", b"\0\x05\x16\x07"),
        ),
        "v3",
        {},
    ),
    "a copy by Windows": (
        several(no_index(), copied(FIRST, "model-00001-of-00002 (1).safetensors")),
        "v3",
        {},
    ),
    "a whole series and a part of another": (
        several(no_index(), copied(FIRST, "model-00001-of-00003.safetensors")),
        "v3",
        {},
    ),
    "a single file, and shards of before": (
        copied(SINGLE, "model-00001-of-00002.safetensors"),
        "llama",
        {},
    ),
    "an unreadable model card": (
        lambda folder: (folder / "README.md").symlink_to("/etc/passwd"),
        "llama",
        {},
    ),
    "a link to nothing beside the files": (
        lambda folder: (folder / "notes.json").symlink_to("nowhere"),
        "llama",
        {},
    ),
    "no index": (no_index(), "v3", {}),
    "an index of another name": (renamed(INDEX, "x.safetensors.index.json"), "v3", {}),
    "one shard of any name": (renamed(SINGLE, "pytorch_weights.safetensors"), "llama", {}),
    "numbered otherwise": (
        several(
            no_index(),
            renamed(FIRST, "weights-1-of-2.safetensors"),
            renamed(SECOND, "weights-2-of-2.safetensors"),
        ),
        "v3",
        {},
    ),
    "numbered from 0": (
        several(
            no_index(),
            renamed(FIRST, "model-00000-of-00002.safetensors"),
            renamed(SECOND, "model-00001-of-00002.safetensors"),
        ),
        "v3",
        {},
    ),
    "names without numbers": (
        several(no_index(), renamed(FIRST, "a.safetensors"), renamed(SECOND, "b.safetensors")),
        "v3",
        {},
    ),
    "a consolidated copy beside them": (copied(SINGLE, "consolidated.safetensors"), "llama", {}),
    "only a consolidated one": (renamed(SINGLE, "consolidated.safetensors"), "llama", {}),
    "an adapter beside them": (copied(SINGLE, "adapter_model.safetensors"), "llama", {}),
    "a folder original/": (new("original/consolidated.00.pth", b"x"), "llama", {}),
    "pickles beside them": (new("pytorch_model.bin", b"PK"), "llama", {}),
    "an index of other shards": (
        new(INDEX, '{"weight_map": {"a": "model-00001-of-00009.safetensors"}}'),
        "llama",
        {},
    ),
    "shards on another disk": (linked_elsewhere, "v3", {}),
    "links to the hub's cache": (linked_to_the_cache, "v3", {}),
    "byte order marks": (
        marked("config.json", "tokenizer.json", SETTINGS, INDEX, "generation_config.json"),
        "v3",
        {},
    ),
    "quantization_config null": (config(quantization_config=None), "llama", {}),
    "quantization_config empty": (config(quantization_config={}), "llama", {}),
    "quantization null": (config(quantization=None), "llama", {}),
    "FP8 without its method": (
        config(quantization_config={"weight_block_size": [128, 128], "fmt": "e4m3"}),
        "v3",
        {},
    ),
    "Windows' line ends": (
        content("config.json", lambda old: old.replace(b"\n", b"\r\n")),
        "v3",
        {},
    ),
}


@pytest.mark.parametrize(("damage", "base", "changes"), FINE.values(), ids=FINE)
def test_converts_to_the_same_weights(
    damage: Damage,
    base: str,
    changes: dict[str, Any],
    copy: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = copy(base)
    convert_to(folder, tmp_path / "plain.gguf")
    damage(folder)
    convert_to(folder, tmp_path / "x.gguf")
    plain, weights = contents(tmp_path / "plain.gguf")
    found, tensors = contents(tmp_path / "x.gguf")
    assert tensors == weights
    assert metadata_changes(plain, found) == changes


def mtp_tensors(folder: Path) -> list[str]:
    names = json.loads((folder / INDEX).read_text())["weight_map"]
    return [name for name in names if name.startswith("model.layers.2.")]


@pytest.mark.parametrize("is_listed", [False, True], ids=["", "in the index still"])
@pytest.mark.parametrize("beside", ["", "embed_tokens.weight"], ids=["all gone", "but a copy"])
def test_an_mtp_layer_that_is_announced_and_not_there(
    beside: str, is_listed: bool, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("v3")
    tensors = [name for name in mtp_tensors(folder) if not beside or not name.endswith(beside)]
    convert_to(folder, tmp_path / "whole.gguf")
    without(*tensors)(folder)
    if is_listed:
        listed(*tensors)(folder)
    plan = planned(folder)
    assert any("MTP" in warning for warning in plan.warnings)
    converter.write_gguf(plan, [tmp_path / "x.gguf"], jobs=1)
    found, weights = contents(tmp_path / "x.gguf")
    assert found.of_arch("block_count") == 2
    assert "deepseek2.nextn_predict_layers" not in found.metadata
    assert set(weights) < set(contents(tmp_path / "whole.gguf")[1])


def test_an_mtp_layer_with_a_part_missing_is_refused_by_the_tensor(
    copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("v3")
    lost = next(name for name in mtp_tensors(folder) if name.endswith("eh_proj.weight"))
    without(lost)(folder)
    (tmp_path / "out").mkdir()
    error = refusal(folder, tmp_path / "out")
    assert error.tensor == lost
    assert "--no-mtp" in error.hint


def test_files_that_are_not_read_are_reported(copy: Callable[[str], Path]) -> None:
    folder = copy("llama")
    several(copied(SINGLE, "mtp.safetensors"), copied(SINGLE, "consolidated.safetensors"))(folder)
    (warning,) = planned(folder).warnings
    assert warning.startswith("mtp.safetensors: ")
