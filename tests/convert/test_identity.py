"""The converter's tensors equal those of llama.cpp's two steps, bit by bit: names, types, shapes,
data.

The oracle's output is compared by stored hashes, and live when DSLOCAL_ORACLE names a folder with
it (tests/support/checkpoints/oracle.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.checkpoints.imatrices import write_imatrix, write_legacy_imatrix
from support.checkpoints.oracle import (
    CASES,
    IMATRIX_CASES,
    ORACLE,
    PLAIN,
    V4_CASES,
    V4_DRAFTERS,
    V4_PLAIN,
    V4_WITH_IMATRIX,
    WITH_IMATRIX,
    Case,
    convert,
    two_steps,
)
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents, digest, layout_digest

import dslocal.convert as converter

STORED = json.loads(
    (Path(__file__).parent.parent / "vectors" / "llama_cpp_hashes.json").read_text(encoding="utf-8")
)
COPIES = (
    "nextn.embed_tokens",
    "nextn.shared_head_head",
)  # the oracle keeps the MTP layer's copies of the trunk's, we do not


def converted(
    checkpoint: Path, recipes: tuple[str, ...], folder: Path, imatrix: Path | None = None
) -> dict[str, Path]:
    matrix = converter.load_imatrix(imatrix) if imatrix else None
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named(name) for name in recipes],
        imatrix=matrix,
    )
    outs = {name: folder / f"ours-{name}.gguf" for name in recipes}
    converter.write_gguf(plan, list(outs.values()))
    return outs


def compare(case: Case, recipes: tuple[str, ...], folder: Path, kind: str = "plain") -> None:
    """Convert to ``recipes`` and compare every tensor with llama.cpp's."""
    checkpoint = write_checkpoint(folder / "checkpoint", **case.arguments)
    imatrix = write_imatrix(folder / "imatrix.gguf", checkpoint) if kind == "imatrix" else None
    for recipe, out in converted(checkpoint, recipes, folder, imatrix).items():
        _, tensors = contents(out)
        assert digest(tensors) == STORED[kind][case.name][recipe], recipe
        if ORACLE:
            _, theirs = contents(two_steps(case, checkpoint, folder, recipe, imatrix))
            assert digest(tensors) == digest(theirs, without=COPIES), recipe


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_checkpoint_in_a_few_recipes(case: Case, tmp_path: Path) -> None:
    compare(case, ("BF16", "Q8_0", "Q4_K_M"), tmp_path)


@pytest.mark.parametrize("case", V4_CASES, ids=lambda case: case.name)
def test_every_v4_checkpoint(case: Case, tmp_path: Path) -> None:
    compare(case, V4_PLAIN, tmp_path)


def test_v4_with_an_importance_matrix(tmp_path: Path) -> None:
    compare(V4_CASES[0], V4_WITH_IMATRIX, tmp_path, "imatrix")


@pytest.mark.parametrize("case", V4_CASES, ids=lambda case: case.name)
def test_v4s_draft_models(case: Case, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **case.arguments)
    flag = V4_DRAFTERS[case.kind]
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named("MXFP4")],
        mtp="only" if flag == "--mtp" else "dspark-only",
    )
    converter.write_gguf(plan, [tmp_path / "ours.gguf"])
    header, tensors = contents(tmp_path / "ours.gguf")
    assert digest(tensors) + layout_digest(header) == STORED["drafters"][case.name]
    if ORACLE:
        theirs = contents(convert(checkpoint, tmp_path / "o.gguf", "bf16", drafter=flag))
        assert digest(tensors) + layout_digest(header) == digest(theirs[1]) + layout_digest(
            theirs[0]
        )


@pytest.mark.parametrize(
    "case",
    [*V4_CASES, *(case for case in CASES if case.kind == "deepseek-v32")],
    ids=lambda case: case.name,
)
def test_tensors_and_keys_are_in_the_converters_order(case: Case, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **case.arguments)
    recipe = "MXFP4" if case in V4_CASES else "BF16"
    header, _ = contents(converted(checkpoint, (recipe,), tmp_path)[recipe])
    assert layout_digest(header, without=COPIES) == STORED["layouts"][case.name]
    if ORACLE:
        theirs, _ = contents(two_steps(case, checkpoint, tmp_path, recipe))
        assert layout_digest(header, without=COPIES) == layout_digest(theirs, without=COPIES)


def test_one_checkpoint_in_all_plain_recipes(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.kind == "llama3")
    compare(case, PLAIN, tmp_path)


def test_one_checkpoint_with_an_importance_matrix(tmp_path: Path) -> None:
    (case,) = (case for case in IMATRIX_CASES if case.kind == "llama")
    compare(case, ("Q2_K_S", "Q4_0"), tmp_path, "imatrix")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_plain_recipes(case: Case, tmp_path: Path) -> None:
    compare(case, PLAIN, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", IMATRIX_CASES, ids=lambda case: case.name)
def test_recipes_with_an_importance_matrix(case: Case, tmp_path: Path) -> None:
    some = ("IQ3_XXS", "IQ2_XXS", "IQ1_S", "Q2_K_S", "Q4_0")  # the others take minutes
    compare(case, WITH_IMATRIX if ORACLE else some, tmp_path, "imatrix")


def test_legacy_importance_matrix_says_the_same(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **IMATRIX_CASES[0].arguments)
    new = converter.load_imatrix(write_imatrix(tmp_path / "new.gguf", checkpoint))
    old = converter.load_imatrix(write_legacy_imatrix(tmp_path / "old.dat", checkpoint))
    assert (new.datasets, new.chunks) == (old.datasets, old.chunks)
    assert set(new.entries) == set(old.entries)
    assert (
        max(float(abs(values - old.entries[name]).max()) for name, values in new.entries.items())
        < 1e-6
    )


def test_many_shards_and_threads_change_nothing(tmp_path: Path) -> None:
    case = CASES[0]
    one = write_checkpoint(tmp_path / "one", **case.arguments)
    many = write_checkpoint(tmp_path / "many", **{**case.arguments, "shards": 7})
    plans = [
        converter.plan_conversion(
            converter.open_checkpoint(converter.FolderSource(folder)),
            [converter.recipe_named("Q4_K_M")],
        )
        for folder in (one, many)
    ]
    converter.write_gguf(plans[0], [tmp_path / "one.gguf"], jobs=1)
    converter.write_gguf(plans[1], [tmp_path / "many.gguf"], jobs=5)
    assert contents(tmp_path / "one.gguf")[1] == contents(tmp_path / "many.gguf")[1]
