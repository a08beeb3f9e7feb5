"""Importance matrices that make no sense are refused, by name, before anything is written."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from support.checkpoints.imatrices import write_imatrix, write_legacy_imatrix
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal import catalog
from dslocal.convert.recipes.imatrix_coverage import expected_imatrix
from dslocal.convert.recipes.imatrix_sums import read_sums
from dslocal.convert.recipes.recipe import IMATRIX_TYPES
from dslocal.errors import DslocalError, NotFoundError, UsageError

NANO_LAYERS = 4  # without the MTP layer


def open_nano() -> converter.Checkpoint:
    folder = catalog.load_registry()["nano"].folder
    return converter.open_checkpoint(converter.FolderSource(folder))


def written(path: Path, entries: dict[str, np.ndarray], kind: str = "imatrix") -> Path:
    writer = GGUFWriter(path, "")
    writer.add_type(kind)
    for name, values in entries.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


ONE = np.ones((1, 1))


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"blk.0.attn_q.weight.in_sum2": np.ones((1, 64))}, "counts are missing"),
        (
            {
                "blk.0.attn_q.weight.in_sum2": np.ones((3, 64)),
                "blk.0.attn_q.weight.counts": np.ones((5, 1)),
            },
            "do not fit",
        ),
        (
            {
                "blk.0.attn_q.weight.in_sum2": np.full((1, 64), np.nan),
                "blk.0.attn_q.weight.counts": ONE,
            },
            "NaN or infinity",
        ),
        (
            {
                "blk.0.attn_q.weight.in_sum2": np.full((1, 64), -1.0),
                "blk.0.attn_q.weight.counts": ONE,
            },
            "attn_q",
        ),
        (
            {
                "blk.0.attn_q.weight.in_sum2": np.full((1, 64), 1e30),
                "blk.0.attn_q.weight.counts": ONE,
            },
            "attn_q",
        ),
        ({"something": ONE}, "no entries"),
    ],
)
def test_gguf_that_makes_no_sense(
    tmp_path: Path, entries: dict[str, np.ndarray], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        converter.load_imatrix(written(tmp_path / "m.gguf", entries))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        struct.pack("<i", -1),
        struct.pack("<i", 1),
        struct.pack("<ii", 1, 1 << 30),
        struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<ii", 1, 1 << 30),
        struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<ii", 1, 4) + b"\0" * 8,
    ],
)
def test_legacy_files_that_make_no_sense(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.dat"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"m\.dat"):
        converter.load_imatrix(path)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such importance matrix"):
        converter.load_imatrix(tmp_path / "missing.gguf")
    with pytest.raises(DslocalError, match="not an importance matrix"):
        converter.load_imatrix(
            written(tmp_path / "model.gguf", {"a.in_sum2": ONE, "a.counts": ONE}, kind="model")
        )


def test_a_matrix_of_another_model(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "ours", "llama")
    matrix = converter.load_imatrix(
        write_imatrix(
            tmp_path / "m.gguf", write_checkpoint(tmp_path / "theirs", "llama", hidden_size=512)
        )
    )
    checkpoint = converter.open_checkpoint(converter.FolderSource(ours))
    with pytest.raises(UsageError, match=r"m\.gguf: blk\.0.* are needed"):
        converter.plan_conversion(checkpoint, [converter.recipe_named("Q4_K_M")], imatrix=matrix)


@pytest.mark.parametrize("recipe", ["IQ2_XXS", "IQ1_S", "Q2_K_S", "IQ3_XS"])
def test_a_recipe_that_needs_one_says_so(tmp_path: Path, recipe: str) -> None:
    checkpoint = converter.open_checkpoint(
        converter.FolderSource(write_checkpoint(tmp_path / "c", "llama"))
    )
    with pytest.raises(UsageError, match=f"{recipe}: blk.*importance matrix") as caught:
        converter.plan_conversion(checkpoint, [converter.recipe_named(recipe)])
    assert "--imatrix" in caught.value.hint


@pytest.fixture(scope="module")
def measured_nano() -> converter.Imatrix:
    """A matrix as one is measured: of the main layers' matrices, without the MTP layer's."""
    plan = converter.plan_conversion(open_nano(), [converter.recipe_named("F16")])
    return expected_imatrix("matrix.gguf", "text", plan.tensors, NANO_LAYERS)


@pytest.mark.parametrize("recipe", ["IQ2_XXS", "IQ1_M", "Q2_K_S", "IQ3_XXS"])
def test_an_mtp_layer_that_is_not_measured_needs_no_matrix(
    measured_nano: converter.Imatrix, recipe: str
) -> None:
    plan = converter.plan_conversion(
        open_nano(), [converter.recipe_named(recipe)], imatrix=measured_nano
    )
    kinds = {
        placed.kind
        for placed in plan.layouts[0].tensors
        if placed.tensor.name.startswith(f"blk.{NANO_LAYERS}.")
    }
    assert not kinds & IMATRIX_TYPES
    assert any("MTP" in warning for warning in plan.warnings) == (recipe != "Q2_K_S")


@pytest.mark.slow  # IQ types of several sizes are tried on every tensor of nano
def test_a_size_uses_types_that_need_a_matrix_only_where_there_is_one(
    measured_nano: converter.Imatrix, tmp_path: Path
) -> None:
    budget = 6_300_000
    plan = converter.plan_conversion(
        open_nano(), [converter.SizedRecipe("x", budget)], imatrix=measured_nano
    )
    small = {p.tensor.name for p in plan.layouts[0].tensors if p.kind in IMATRIX_TYPES}
    assert small <= measured_nano.entries.keys()
    assert small
    converter.write_gguf(plan, [tmp_path / "o.gguf"])
    assert (tmp_path / "o.gguf").stat().st_size <= budget


def test_a_legacy_matrix_can_be_merged(tmp_path: Path) -> None:
    """Its means count as often as its chunks; experts that a GGUF counts apart get all of them."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "deepseek-moe", dtype="bf16")
    old = read_sums(write_legacy_imatrix(tmp_path / "old.dat", checkpoint))
    new = read_sums(write_imatrix(tmp_path / "new.gguf", checkpoint))
    means = converter.load_imatrix(tmp_path / "old.dat")
    for name, entry in old.entries.items():
        found = entry.sums.reshape(-1) / np.float32(entry.counts[0])
        np.testing.assert_allclose(found, means.entries[name], 1e-6)
    new.merge(old)
    name = next(name for name in new.entries if name.endswith("_exps.weight"))
    counts = read_sums(tmp_path / "new.gguf").entries[name].counts
    assert new.entries[name].counts.tolist() == (counts + old.entries[name].counts[0]).tolist()
    assert new.datasets == ("made-up.txt", "made-up.txt")
