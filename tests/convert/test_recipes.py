"""Recipes of the user's own: YAML files, sizes, splits, several from one read, the MTP layer kept,
dropped or alone; --verify.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents

import dslocal.convert as converter
from dslocal import catalog
from dslocal.convert.verify import EXACT, TensorClassRmse
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.errors import UsageError
from dslocal.gguf.header import read_header


@pytest.fixture(scope="module")
def nano() -> converter.Checkpoint:
    return converter.open_checkpoint(converter.FolderSource(catalog.load_registry()["nano"].folder))


def made(checkpoint: converter.Checkpoint, recipe: converter.Recipe, out: Path) -> Path:
    converter.write_gguf(converter.plan_conversion(checkpoint, [recipe]), [out])
    return out


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_first_match_wins(nano: converter.Checkpoint, tmp_path: Path) -> None:
    recipe = converter.load_recipe(
        recipe_file(
            tmp_path,
            "'ffn_down_exps': Q6_K\n'_exps': IQ4_XS\n'^output|token_embd': Q8_0\n'.*': Q5_K\n",
        )
    )
    kinds = {
        t.name: t.type.name for t in read_header(made(nano, recipe, tmp_path / "out.gguf")).tensors
    }
    assert kinds["blk.1.ffn_down_exps.weight"] == "Q6_K"
    assert kinds["blk.1.ffn_up_exps.weight"] == "IQ4_XS"
    assert kinds["output.weight"] == kinds["token_embd.weight"] == "Q8_0"
    assert kinds["blk.0.attn_output.weight"] == "Q5_K"
    assert kinds["blk.1.ffn_gate_inp.weight"] == kinds["output_norm.weight"] == "F32"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("'_exps': Q4_K\n", "no pattern matches"),
        ("'.*': Q4_K\n'_exps': Q6_K\n", "line 2.*matches no tensor"),
        ("'nothing': Q4_K\n'.*': Q6_K\n", "line 1.*matches no tensor"),
        ("'.*': Q4_K\n'.*': Q6_K\n", "line 2.*twice"),
        ("'.*': Q99\n", "line 1.*unknown type"),
        ("'(': Q4_K\n", "line 1.*not a regular expression"),
        ("- Q4_K\n", "not a mapping"),
        ("", "not a mapping"),
        ("'.*': [Q4_K]\n", "line 1.*PATTERN: TYPE"),
        ("'.*': {a: b}\n", "line 1.*PATTERN: TYPE"),
        ("'a\n", "cannot be read"),
        ("'.*': IQ2_XXS\n", "importance matrix"),
    ],
)
def test_recipe_files_that_make_no_sense(
    nano: converter.Checkpoint, tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        converter.plan_conversion(nano, [converter.load_recipe(recipe_file(tmp_path, text))])


def test_rows_that_do_not_fit_get_the_stock_replacement(
    nano: converter.Checkpoint, tmp_path: Path
) -> None:
    recipe = converter.load_recipe(recipe_file(tmp_path, "'attn_k_b': Q4_K\n'.*': Q6_K\n"))
    kinds = {
        t.name: t.type.name for t in read_header(made(nano, recipe, tmp_path / "out.gguf")).tensors
    }
    assert kinds["blk.0.attn_k_b.weight"] == "Q5_0"  # its rows are 128 long, Q4_K's blocks 256


@pytest.mark.parametrize(
    "budget", [8_700_000, 10_000_000, 12_345_678, 13_000_000, 16_000_000, 20_000_000, 22_000_000]
)
def test_sizes_land_within_a_hundredth_under_the_budget(
    nano: converter.Checkpoint, tmp_path: Path, budget: int
) -> None:
    size = made(nano, converter.SizedRecipe("x", budget), tmp_path / "out.gguf").stat().st_size
    assert 0.99 * budget <= size <= budget


def test_a_size_that_is_too_small_names_the_least(nano: converter.Checkpoint) -> None:
    with pytest.raises(UsageError, match="is the smallest size"):
        converter.plan_conversion(nano, [converter.SizedRecipe("x", 4_000_000)])


def test_a_size_spends_more_on_what_every_token_reads(nano: converter.Checkpoint) -> None:
    plan = converter.plan_conversion(nano, [converter.SizedRecipe("x", 12_000_000)])
    bits = {p.tensor.name: p.nbytes * 8 / p.tensor.elements for p in plan.layouts[0].tensors}
    experts = [b for name, b in bits.items() if name.endswith("_exps.weight")]
    others = [
        b
        for name, b in bits.items()
        if "attn_q_b" in name or "_shexp" in name or name == "output.weight"
    ]
    assert sum(experts) / len(experts) < sum(others) / len(others)


@pytest.mark.parametrize(
    ("split", "least"),
    [
        (converter.Split(experts=True), 2),
        (converter.Split(size=3_000_000), 5),
        (converter.Split(True, 3_000_000), 5),
    ],
)
def test_splits_hold_the_same_tensors(
    nano: converter.Checkpoint, tmp_path: Path, split: converter.Split, least: int
) -> None:
    recipe = converter.recipe_named("Q4_K_M")
    whole = contents(made(nano, recipe, tmp_path / "whole.gguf"))[1]
    report = converter.write_gguf(
        converter.plan_conversion(nano, [recipe], split=split), [tmp_path / "cut.gguf"]
    )[0]
    parts = sorted(tmp_path.glob("cut-*.gguf"))
    assert len(parts) == report.files >= least
    assert report.path == parts[0]
    merged = {name: tensor for part in parts for name, tensor in contents(part)[1].items()}
    assert merged == whole
    if split.experts:
        assert not any("_exps" in name for name in contents(parts[0])[1])
    with LlamaModel(parts[0]) as model, LlamaContext(model, 512) as context:
        context.prefill([0, *model.encode("hello")])


def test_several_recipes_from_one_read(nano: converter.Checkpoint, tmp_path: Path) -> None:
    names = ["Q4_K_M", "F16", "Q2_K"]
    plan = converter.plan_conversion(nano, [converter.recipe_named(name) for name in names])
    converter.write_gguf(plan, [tmp_path / f"{name}.gguf" for name in names])
    for name in names:
        alone = made(nano, converter.recipe_named(name), tmp_path / "alone.gguf")
        assert alone.read_bytes() == (tmp_path / f"{name}.gguf").read_bytes()


@pytest.mark.parametrize(
    ("mtp", "layers", "nextn"), [("keep", 5, 1), ("drop", 4, 0), ("only", 5, 1)]
)
def test_the_mtp_layer(
    nano: converter.Checkpoint, tmp_path: Path, mtp: str, layers: int, nextn: int
) -> None:
    out = tmp_path / "out.gguf"
    converter.write_gguf(
        converter.plan_conversion(nano, [converter.recipe_named("Q8_0")], mtp=mtp), [out]
    )
    header = read_header(out)
    names = {tensor.name for tensor in header.tensors}
    assert (header.of_arch("block_count"), header.of_arch("nextn_predict_layers")) == (
        layers,
        nextn,
    )
    assert ("blk.4.nextn.eh_proj.weight" in names) == (mtp != "drop")
    assert ("blk.0.attn_norm.weight" in names) == (mtp != "only")
    assert "token_embd.weight" in names


def test_mtp_copies_are_kept_when_they_differ(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "deepseek-v3")
    tensor = converter.open_checkpoint(converter.FolderSource(folder)).tensors[
        "model.layers.3.embed_tokens.weight"
    ]
    with (folder / tensor.file).open("r+b") as file:
        file.seek(tensor.start)
        file.write(b"\0\0")
    out = made(
        converter.open_checkpoint(converter.FolderSource(folder)),
        converter.recipe_named("F16"),
        tmp_path / "out.gguf",
    )
    names = {t.name for t in read_header(out).tensors}
    assert "blk.3.nextn.embed_tokens.weight" in names
    assert "blk.3.nextn.shared_head_head.weight" not in names


def test_verify_sees_damage(nano: converter.Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    plan = converter.plan_conversion(nano, [converter.recipe_named("Q5_K_M")])
    converter.write_gguf(plan, [out])
    assert all(error.is_within_tolerance for error in converter.verify(plan, [out]))
    header = read_header(out)
    tensor = next(t for t in header.tensors if t.name == "blk.2.ffn_up_exps.weight")
    with out.open("r+b") as file:
        file.seek(header.data_start + tensor.offset)
        file.write(bytes(tensor.nbytes // 4))
    bad = [error for error in converter.verify(plan, [out]) if not error.is_within_tolerance]
    assert [type(error) for error in bad] == [TensorClassRmse]
    assert bad[0].tensor_class == "routed experts"


@pytest.mark.parametrize("quant", ["Q8_0", "Q4_0", "Q4_K_M", "Q2_K"])
def test_verify_expects_what_outliers_cost(
    nano: converter.Checkpoint, tmp_path: Path, quant: str
) -> None:
    """nano's output matrix has them: as Q8_0 its error is 2.1 times that of Gaussian weights."""
    out = tmp_path / "out.gguf"
    plan = converter.plan_conversion(nano, [converter.recipe_named(quant)])
    converter.write_gguf(plan, [out])
    errors = {error.tensor_class: error for error in converter.verify(plan, [out])}
    for error in errors.values():
        assert error.measured <= 1.25 * error.expected + EXACT, error
