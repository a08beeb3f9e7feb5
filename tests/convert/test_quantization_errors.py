"""What --size knows of errors: measured on a checkpoint's own weights, or estimated by type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal import catalog
from dslocal.convert.kernels import init_quantization
from dslocal.convert.recipes.quantization_errors import ErrorsByType
from dslocal.convert.sampled_errors import SampledErrors
from dslocal.gguf.tensor_types import GgmlType

KINDS = (GgmlType.Q3_K, GgmlType.Q4_K, GgmlType.Q6_K)

Weights = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def nano() -> converter.Checkpoint:
    return converter.open_checkpoint(converter.FolderSource(catalog.load_registry()["nano"].folder))


def plan_of(checkpoint: converter.Checkpoint) -> converter.ConversionPlan:
    return converter.plan_conversion(checkpoint, [converter.recipe_named("F32")])


def measured(
    checkpoint: converter.Checkpoint, name: str, imatrix: converter.Imatrix | None = None
) -> ErrorsByType:
    tensors = plan_of(checkpoint).tensors
    (tensor,) = (tensor for tensor in tensors if tensor.name == name)
    return SampledErrors(checkpoint, tensors, imatrix).of([tensor], KINDS)[name]


@pytest.fixture(scope="module")
def weights(nano: converter.Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    out = tmp_path_factory.mktemp("f32") / "out.gguf"
    converter.write_gguf(plan_of(nano), [out])
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(out).tensors}


def error_of_all(
    values: np.ndarray,
    kind: GgmlType,
    importance: np.ndarray,
    matrix: np.ndarray | None = None,
) -> float:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    from dslocal.convert.quantize import encode_rows

    init_quantization(kind)
    blocks = encode_rows(kind, values, matrix)
    back = dequantize(blocks, GGMLQuantizationType(int(kind))).reshape(values.shape)
    difference = np.square(values - back, dtype=np.float64).sum(0) @ importance
    return float(difference / (np.square(values, dtype=np.float64).sum(0) @ importance))


@pytest.mark.parametrize(
    "name",
    [
        "output.weight",
        "token_embd.weight",
        "blk.0.attn_output.weight",
        "blk.1.ffn_down_exps.weight",
        "blk.2.ffn_down_shexp.weight",
    ],
)
def test_a_sample_says_what_the_whole_tensor_says(
    nano: converter.Checkpoint, weights: Weights, name: str
) -> None:
    values = weights[name].reshape(-1, weights[name].shape[-1])
    for kind, error in measured(nano, name).items():
        whole = error_of_all(values, kind, np.ones(values.shape[1]))
        assert error == pytest.approx(whole, rel=0.2), kind.name


def test_columns_count_by_the_gains_of_the_norm_before(
    nano: converter.Checkpoint, weights: Weights
) -> None:
    name = "blk.1.attn_q_a.weight"
    importance = np.abs(weights["blk.1.attn_norm.weight"]) ** 3.0
    whole = error_of_all(weights[name], GgmlType.Q4_K, importance)
    assert measured(nano, name)[GgmlType.Q4_K] == pytest.approx(whole, rel=0.1)


def test_heads_that_are_transposed_are_measured_in_their_new_rows(
    nano: converter.Checkpoint, weights: Weights
) -> None:
    name = "blk.0.attn_k_b.weight"
    values = weights[name].reshape(-1, weights[name].shape[-1])
    errors = measured(nano, name)  # rows of 128, which Q4_K does not fit
    assert set(errors) == {GgmlType.Q4_0, GgmlType.Q5_0, GgmlType.Q8_0}
    whole = error_of_all(values, GgmlType.Q5_0, np.ones(values.shape[1]))
    assert errors[GgmlType.Q5_0] == pytest.approx(whole, rel=0.2)


def test_an_importance_matrix_says_which_columns_count(
    nano: converter.Checkpoint, weights: Weights
) -> None:
    name = "blk.0.attn_output.weight"
    entry = np.power(np.random.default_rng(1).random(weights[name].shape[1], np.float32), 8)
    errors = measured(nano, name, converter.Imatrix("x", (), 1, {name: entry}))
    for kind, error in errors.items():
        whole = error_of_all(weights[name], kind, entry, entry)
        assert error == pytest.approx(whole, rel=0.1), kind.name
        assert error < measured(nano, name)[kind]  # blocks are fitted to the columns that count


def test_a_sample_is_the_same_each_time(nano: converter.Checkpoint) -> None:
    name = "blk.1.ffn_gate_exps.weight"
    assert measured(nano, name) == measured(nano, name)


def test_weights_that_are_all_zero_get_the_estimate(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama", dtype="f32")
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    name = "blk.0.ffn_down.weight"
    (tensor,) = (t for t in plan_of(checkpoint).tensors if t.name == name)
    source = checkpoint.tensors[tensor.sources[0].tensor]
    with (folder / source.file).open("r+b") as file:
        file.seek(source.start)
        file.write(bytes(source.nbytes))
    estimated = converter.SizedRecipe("x", 1).errors.of([tensor], KINDS)[name]
    assert measured(checkpoint, name) == estimated


class RemoteFolder(converter.FolderSource):
    """A folder that says that its shards would have to be fetched."""

    @property
    def is_local(self) -> bool:
        return False


@pytest.mark.parametrize("source", [converter.FolderSource, RemoteFolder])
def test_what_must_be_fetched_is_estimated_and_that_is_said(
    nano: converter.Checkpoint, source: type[converter.FolderSource]
) -> None:
    checkpoint = converter.open_checkpoint(source(catalog.load_registry()["nano"].folder))
    plan = converter.plan_conversion(checkpoint, [converter.SizedRecipe("11MB", 11_000_000)])
    is_estimated = any("--size 11MB" in warning for warning in plan.warnings)
    assert is_estimated == (source is RemoteFolder)
    assert 0.99 * 11e6 <= plan.layouts[0].data_size + 500_000 <= 11.5e6


def test_headers_alone_are_enough_for_a_size(nano: converter.Checkpoint) -> None:
    folder = catalog.load_registry()["nano"].folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    header = converter.header_from_config(config, converter.SizedRecipe("x", 12_000_000))
    assert 0.95 * 12e6 <= header.file_size <= 12e6
