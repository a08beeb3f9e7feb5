"""Proves that every expert is where the layout says, in one file and in several."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from support.engine.expert_models import SHAPES, SPLITS, write_moe

from dslocal.engine.streaming.expert_layout import ExpertLayout, Extent, read_layout
from dslocal.errors import GgufError


def content(layout: ExpertLayout, extent: Extent) -> bytes:
    with layout.files[extent.file].open("rb") as file:
        file.seek(extent.start)
        return file.read(extent.nbytes)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_experts_are_where_another_reader_finds_them(
    shape: str, split: str, tmp_path: Path
) -> None:
    """Proves the bytes of each expert the same as those that gguf's own reader slices out."""
    path = write_moe(tmp_path, shape, split)
    layout = read_layout(path)
    assert (len(layout.files) > 1) == (split != "one file")
    theirs = {t.name: t for file in layout.files for t in gguf.GGUFReader(file).tensors}
    ours = {tensor.name: tensor for layer in layout.layers.values() for tensor in layer}
    assert set(ours) == {name for name in theirs if "_exps.weight" in name}
    for name, tensor in ours.items():
        data = np.asarray(theirs[name].data)
        assert tensor.n_experts == data.shape[0]
        for expert in range(tensor.n_experts):
            assert content(layout, tensor.extent(expert)) == data[expert].tobytes()


@pytest.mark.parametrize("split", SPLITS)
def test_every_other_tensor_is_found_too(split: str, tmp_path: Path) -> None:
    """Proves the bytes of all tensors the same as those that gguf's own reader has."""
    layout = read_layout(write_moe(tmp_path, "deepseek-v3", split))
    theirs = {t.name: t for file in layout.files for t in gguf.GGUFReader(file).tensors}
    assert set(layout.tensors) == set(theirs)
    for name, stored in layout.tensors.items():
        assert content(layout, stored.extent) == np.asarray(theirs[name].data).tobytes()


@pytest.mark.parametrize("split", ["one file", "experts apart"])
def test_a_file_that_was_cut_off_is_named(split: str, tmp_path: Path) -> None:
    path = write_moe(tmp_path, "deepseek-v3", split)
    last = read_layout(path).files[-1]
    with last.open("r+b") as file:
        file.truncate(last.stat().st_size - 1000)
    with pytest.raises(GgufError, match=last.name):
        read_layout(path)
