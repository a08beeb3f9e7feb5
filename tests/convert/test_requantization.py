"""Prove that another quantization of a GGUF has llama-quantize's tensors and keys, bit by bit.

llama-quantize's output is compared by stored hashes, and live when DSLOCAL_ORACLE names a folder
with it (tests/support/checkpoints/oracle.py).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from support.checkpoints.imatrices import write_imatrix
from support.checkpoints.oracle import (
    ORACLE,
    REQUANTIZED,
    REQUANTIZED_TO,
    requantize,
    write_source,
)
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents, digest, layout_digest

import dslocal.convert as converter
from dslocal.errors import CheckpointError, UnsupportedModelError, UsageError
from dslocal.gguf.header import read_header

STORED = json.loads(
    (Path(__file__).parent.parent / "vectors" / "llama_cpp_hashes.json").read_text(encoding="utf-8")
)["requantized"]
CASES = [(kind, source) for kind, (_, sources) in REQUANTIZED.items() for source in sources]


def quantized(source: Path, out: Path, recipe: str, **options: Any) -> Path:
    plan = converter.plan_requantization(
        converter.open_gguf(source), [converter.recipe_named(recipe)], **options
    )
    converter.write_gguf(plan, [out])
    return out


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        kind: write_checkpoint(folder / kind, **case.arguments)
        for kind, (case, _) in REQUANTIZED.items()
    }


@pytest.fixture(scope="module")
def dense(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense model in Q8_0."""
    return write_source(checkpoints["dense"], tmp_path_factory.mktemp("dense") / "d.gguf", "Q8_0")


@pytest.mark.parametrize(("kind", "source"), CASES)
def test_tensors_are_those_of_llama_quantize(
    checkpoints: dict[str, Path], tmp_path: Path, kind: str, source: str
) -> None:
    model = write_source(checkpoints[kind], tmp_path / "source.gguf", source)
    imatrix = write_imatrix(tmp_path / "imatrix.gguf", checkpoints[kind])
    for recipe in REQUANTIZED_TO:
        matrix = imatrix if recipe == "IQ2_XXS" else None
        loaded = converter.load_imatrix(matrix) if matrix else None
        out = quantized(model, tmp_path / "o.gguf", recipe, imatrix=loaded, allow_larger=True)
        header, tensors = contents(out)
        found = digest(tensors) + layout_digest(header)
        assert found == STORED[kind][f"{source} {recipe}"], recipe
        if ORACLE:
            theirs = contents(requantize(model, tmp_path / "theirs.gguf", recipe, matrix))
            assert found == digest(theirs[1]) + layout_digest(theirs[0]), recipe
            assert _keys(header.metadata) == _keys(theirs[0].metadata), recipe
            assert [t.name for t in header.tensors] == [t.name for t in theirs[0].tensors]


def _keys(metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return all keys but our own in order; the matrix is called by its path there."""
    return [
        (key, Path(str(value)).name if key == "quantize.imatrix.file" else value)
        for key, value in metadata.items()
        if not key.startswith("dslocal.")
    ]


def test_a_split_source_says_the_same(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoints["mla"])),
        [converter.recipe_named("Q8_0")],
        split=converter.Split(experts=True),
    )
    converter.write_gguf(plan, [tmp_path / "split.gguf"])
    write_source(checkpoints["mla"], tmp_path / "whole.gguf", "Q8_0")
    outs = []
    for name in ("split-00001-of-00002.gguf", "whole.gguf"):
        outs.append(quantized(tmp_path / name, tmp_path / f"{name}.out", "Q4_K_M"))
    split, whole = (contents(out) for out in outs)
    assert split[1] == whole[1]
    assert split[0].metadata == whole[0].metadata


def test_metadata_of_any_kind_is_kept(dense: Path, tmp_path: Path) -> None:
    """Values that our converter does not write: odd integers, empty lists, bytes without a text."""
    header, source = read_header(dense), tmp_path / "odd.gguf"
    odd = [
        ("general.author", 8, struct.pack("<Q", 3) + b"\xff\xfe!"),
        ("x.empty", 9, struct.pack("<IQ", 8, 0)),
        ("x.bytes", 9, struct.pack("<IQ", 0, 3) + b"\0\1\2"),
        ("x.long", 10, struct.pack("<Q", 1 << 40)),
        ("x.double", 12, struct.pack("<d", 0.1)),
    ]
    data = dense.read_bytes()
    spans = header.value_spans.values()
    end = max(span.stop for span in spans)
    added = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
        for key, kind, value in odd
    )
    counts = struct.pack("<QQ", len(header.tensors), len(header.metadata) + len(odd))
    table = data[end : end + _table_bytes(header)]
    head = data[:8] + counts + data[24:end] + added + table
    source.write_bytes(head + b"\0" * (-len(head) % 32) + data[header.data_start :])
    out = quantized(source, tmp_path / "out.gguf", "Q4_0")
    written, raw = read_header(out), out.read_bytes()
    for key, kind, value in odd:
        assert raw[written.value_spans[key]] == struct.pack("<I", kind) + value, key
    kept = {key for key in header.metadata if not key.startswith(("dslocal.", "general."))}
    assert all(written.metadata[key] == header.metadata[key] for key in kept)


def _table_bytes(header: Any) -> int:
    """Return the bytes of a tensor table."""
    return sum(8 + len(t.name) + 4 + 8 * len(t.shape) + 12 for t in header.tensors)


def test_the_mtp_layer_stays(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source = write_source(checkpoints["mla"], tmp_path / "s.gguf", "Q8_0")
    header = read_header(quantized(source, tmp_path / "o.gguf", "Q2_K"))
    assert header.of_arch("nextn_predict_layers") == 1
    assert any(".nextn.eh_proj" in tensor.name for tensor in header.tensors)


@pytest.mark.parametrize("recipe", ["Q8_0", "F16"])
def test_a_larger_file_is_refused_unless_asked_for(
    dense: Path, tmp_path: Path, recipe: str
) -> None:
    source = quantized(dense, tmp_path / "s.gguf", "Q4_K_M")
    with pytest.raises(UsageError, match="larger than its quantized source"):
        quantized(source, tmp_path / "o.gguf", recipe)
    assert quantized(source, tmp_path / "o.gguf", recipe, allow_larger=True).exists()


def test_a_small_source_is_warned_of(dense: Path, tmp_path: Path) -> None:
    recipes = [converter.recipe_named("Q2_K")]
    small = quantized(dense, tmp_path / "s.gguf", "Q4_K_M")
    assert converter.plan_requantization(converter.open_gguf(dense), recipes).warnings == ()
    (warning,) = converter.plan_requantization(converter.open_gguf(small), recipes).warnings
    assert "cannot restore what it has lost" in warning
    bits = read_header(small).bits_per_weight
    assert f" has only {bits:.2f} bits per weight" in warning  # as show and convert say it


def test_a_size_gives_no_tensor_more_bits_than_it_has(dense: Path, tmp_path: Path) -> None:
    small = quantized(dense, tmp_path / "s.gguf", "Q4_K_M")
    model = converter.open_gguf(small)
    sizes = {tensor.name: tensor.nbytes for tensor in model.header.tensors}
    budget = small.stat().st_size * 9 // 10
    recipe = converter.SizedRecipe("90%", budget)
    plan = converter.plan_requantization(model, [recipe])
    placed = [place for layout in plan.layouts for place in layout.tensors]
    assert all(place.nbytes <= sizes[place.tensor.name] for place in placed)
    converter.write_gguf(plan, [tmp_path / "o.gguf"])
    assert (tmp_path / "o.gguf").stat().st_size <= budget


def test_weights_that_are_not_numbers_are_refused(dense: Path, tmp_path: Path) -> None:
    """Scales of a quantized source that are infinite, whether its type changes or not."""
    data, header = bytearray(dense.read_bytes()), read_header(dense)
    tensor = next(t for t in header.tensors if t.name == "blk.1.ffn_up.weight")
    start = header.data_start + tensor.offset
    data[start : start + 2] = np.float16(np.inf).tobytes()
    (tmp_path / "bad.gguf").write_bytes(data)
    for recipe in ("Q4_0", "Q8_0"):
        with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_up\.weight: holds NaN or infinity"):
            quantized(tmp_path / "bad.gguf", tmp_path / "o.gguf", recipe)
        assert not list(tmp_path.glob("o.gguf*"))


def test_models_without_rules_are_refused(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "other.gguf", "gemma3")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModelError, match="gemma3"):
        converter.open_gguf(tmp_path / "other.gguf")
