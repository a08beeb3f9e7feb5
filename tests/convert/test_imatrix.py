"""Importance matrices that make no sense are refused, by name, before anything is written."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from support.checkpoints.imatrices import write_imatrix
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal.errors import DslocalError, NotFoundError, UsageError


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
    with pytest.raises(DslocalError, match="no importance matrix"):
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
