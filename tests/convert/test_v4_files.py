"""V4's chat template, by what the checkpoint is, and its draft model, in a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents

import dslocal.convert as converter
from dslocal.api.quantization import output_files
from dslocal.errors import UsageError
from dslocal.gguf.header import read_header

TEMPLATES = Path(__file__).parent.parent / "vectors" / "templates"
PREVIEW = (TEMPLATES / "llama-cpp-deepseek-v4.jinja").read_text(encoding="utf-8")
SINCE_0731 = (TEMPLATES / "llama-cpp-deepseek-v4-flash-0731.jinja").read_text(encoding="utf-8")
ENCODERS = {
    "preview": 'REASONING_EFFORT_MAX = "Reasoning Effort: Absolute maximum"\n',
    "0731": 'REASONING_EFFORT_PROMPTS = {"low": "", "high": "…"}\nREASONING_EFFORT_MAX = 3\n',
    "unknown": "raise SystemExit\n",
}


def plan_of(folder: Path, mtp: str = "keep") -> converter.ConversionPlan:
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    return converter.plan_conversion(checkpoint, [converter.recipe_named("V4-Q2")], mtp=mtp)


def template_of(folder: Path) -> object:
    return dict(plan_of(folder).outputs[0].metadata).get("tokenizer.chat_template")


@pytest.mark.parametrize("name", ["DeepSeek-V4-Pro-0813", "x"])
@pytest.mark.parametrize(
    ("kind", "encoder", "expected"),
    [
        ("deepseek-v4", None, PREVIEW),
        ("deepseek-v4", "unknown", PREVIEW),
        ("deepseek-v4", "0731", SINCE_0731),
        ("deepseek-v4-dspark", None, SINCE_0731),
        ("deepseek-v4-dspark", "preview", PREVIEW),
        ("deepseek-v4-dspark", "0731", SINCE_0731),
    ],
)
def test_the_checkpoint_and_not_its_folders_name_chooses_the_template(
    kind: str, encoder: str | None, expected: str, name: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / name, kind, dtype="fp4")
    if encoder:
        (folder / "encoding").mkdir()
        file = folder / "encoding" / "encoding_dsv4.py"
        file.write_text(ENCODERS[encoder], encoding="utf-8")
    assert template_of(folder) == expected


def test_a_template_in_the_checkpoint_goes_before(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "deepseek-v4", dtype="fp4")
    (folder / "chat_template.jinja").write_text("mine", encoding="utf-8")
    assert template_of(folder) == "mine"


def test_a_base_model_has_none(tmp_path: Path) -> None:
    assert template_of(write_checkpoint(tmp_path / "c", "deepseek-v4", dtype="fp8")) is None


@pytest.mark.parametrize(
    ("kind", "mode", "arch"),
    [("deepseek-v4", "only", "deepseek4"), ("deepseek-v4-dspark", "dspark-only", "dflash")],
)
def test_a_drafter_beside_the_model_is_what_it_is_alone(
    kind: str, mode: str, arch: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "c", kind, dtype="fp4")
    both = [tmp_path / "model.gguf", tmp_path / "model-mtp.gguf"]
    reports = converter.write_gguf(plan_of(folder, "beside"), both)
    assert [report.path for report in reports] == both
    converter.write_gguf(plan_of(folder), [tmp_path / "alone.gguf"])
    assert contents(both[0])[1] == contents(tmp_path / "alone.gguf")[1]
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    plan = converter.plan_conversion(checkpoint, [converter.recipe_named("MXFP4")], mtp=mode)
    converter.write_gguf(plan, [tmp_path / "drafter.gguf"])
    assert both[1].read_bytes() == (tmp_path / "drafter.gguf").read_bytes()
    assert read_header(both[1]).architecture == arch


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "deepseek-v4", dtype="fp4", vision_n_layers=2)
    warnings = " ".join(plan_of(folder).warnings)
    assert "--with-drafter" in warnings
    assert "vision" in warnings
    assert "--with-drafter" not in " ".join(plan_of(folder, "drop").warnings)


def test_other_models_have_no_drafter_to_write_beside(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "deepseek-v32")
    with pytest.raises(UsageError, match="--with-drafter: c has no draft model"):
        plan_of(folder, "beside")


@pytest.mark.parametrize(
    ("names", "output", "expected"),
    [
        (["MXFP4"], "m.gguf", "m-mtp.gguf"),
        (["MXFP4"], None, "x-MXFP4-mtp.gguf"),
        (["MXFP4", "Q2_K"], None, "x-mtp.gguf"),
        (["MXFP4", "Q2_K"], "{quant}.gguf", "mtp.gguf"),
    ],
)
def test_the_drafter_is_named_after_its_model(
    names: list[str], output: str | None, expected: str
) -> None:
    recipes = [converter.recipe_named(name) for name in names]
    targets = output_files.choose_outputs(output, "x", recipes, overwrite=False, has_drafter=True)
    assert [str(target) for target in targets[len(names) :]] == [expected]
