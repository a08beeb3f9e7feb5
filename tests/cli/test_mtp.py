"""Proves what ``--mtp`` promises: the same answer with and without, drafts counted, a model without
the layer refused by name.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.cli.running import Run

import dslocal.convert as converter
from dslocal import catalog
from dslocal.api.conversion import convert

QUESTION = "What is 47 × 86?"


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano without its MTP layer."""
    target = tmp_path_factory.mktemp("without") / "nano.gguf"
    checkpoint = converter.open_checkpoint(
        converter.FolderSource(catalog.load_registry()["nano"].folder)
    )
    converter.write_gguf(
        converter.plan_conversion(checkpoint, [converter.recipe_named("Q8_0")], mtp="drop"),
        [target],
    )
    return target


def asked(run: Run, *options: str, model: str = "nano") -> dict[str, Any]:
    done = run.inside("ask", "--json", "-m", model, "--seed", "1", *options, QUESTION)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_on_off_and_auto_say_the_same(run: Run) -> None:
    on, off, auto = (asked(run, "--mtp", mode) for mode in ("on", "off", "auto"))
    assert on["answer"] == off["answer"] == auto["answer"]
    assert on["reasoning"] == off["reasoning"] == auto["reasoning"]
    assert on["usage"]["drafted"] >= on["usage"]["accepted"] > 0.5 * on["usage"]["drafted"] > 20
    assert (off["usage"]["drafted"], off["usage"]["accepted"]) == (0, 0)
    assert auto["usage"]["drafted"] == 0  # nano is small: drafts are not expected to pay


def test_the_statistics_name_the_drafts(run: Run) -> None:
    lines = {
        mode: run.inside("ask", "-m", "nano", "--show-thinking", "--mtp", mode, QUESTION)
        .stderr.decode()
        .splitlines()[-1]
        for mode in ("on", "off")
    }
    assert " drafts accepted, seed " in lines["on"]
    assert "draft" not in lines["off"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--mtp", "on"),
            (
                "dslocal: --mtp on: nano has no MTP layer to draft with (--mtp auto drafts from "
                "earlier text; --mtp FILE.gguf names a file with the layer)\n"
            ),
        ),
        (
            ("--mtp", "maybe"),
            "dslocal: --mtp: 'maybe' is not known (auto, on, off, or FILE.gguf, the layer alone)\n",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    run: Run, without: Path, options: tuple[str, ...], said: str
) -> None:
    done = run.inside("ask", "-m", without, *options, QUESTION)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", said)


def test_a_model_without_the_layer_answers(run: Run, without: Path) -> None:
    assert "4042" in asked(run, model=str(without))["answer"]


@pytest.mark.parametrize("command", ["fim", "eval"])
def test_other_commands_take_it_too(run: Run, tmp_path: Path, command: str) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        json.dumps({"question": "What is 3 + 4?", "answer": "7"}) + "\n", encoding="utf-8"
    )
    what = {
        "fim": (
            "fim",
            "-m",
            "nano",
            "--prefix",
            "def area(width, height):\n    return ",
            "--suffix",
            "\n",
            "--temperature",
            "0",
        ),
        "eval": ("eval", str(questions), "-m", "nano", "--temperature", "0", "--restart"),
    }[command]
    on, off = (run.inside(*what, "--mtp", mode, cwd=tmp_path) for mode in ("on", "off"))
    assert (on.returncode, on.stderr) == (0, off.stderr)
    same = [line for line in off.stdout.splitlines() if b"tokens/s" not in line]
    assert [line for line in on.stdout.splitlines() if b"tokens/s" not in line] == same
    assert same


@pytest.fixture(scope="module")
def dspark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny V4 with its DSpark beside it, under the name that is looked for."""
    folder = tmp_path_factory.mktemp("dspark")
    write_checkpoint(folder / "DeepSeek-V4-Flash-0731", "deepseek-v4-dspark")
    model = folder / "v4.gguf"
    convert(folder / "DeepSeek-V4-Flash-0731", model, quant="F32", mtp="beside")
    return model


def drafted_by_dspark(run: Run, model: Path, *mtp: str) -> dict[str, Any]:
    options = ("--json", "--temperature", "0", "--max-tokens", "40", *mtp)
    found: dict[str, Any] = json.loads(run.inside("ask", "-m", model, *options, QUESTION).stdout)
    return found


def test_dspark_beside_the_model_changes_no_answer(run: Run, dspark: Path) -> None:
    """Proves it found by its name and brought by its own, and its drafts counted."""
    elsewhere = dspark.with_name("elsewhere.gguf")
    shutil.copy(dspark.with_name("v4-mtp.gguf"), elsewhere)
    off, on, brought = (
        drafted_by_dspark(run, dspark, "--mtp", mode) for mode in ("off", "on", str(elsewhere))
    )
    assert off["answer"] == on["answer"] == brought["answer"]
    assert off["usage"]["drafted"] == 0
    assert on["usage"]["drafted"] > 10


def test_bench_measures_with_the_draft_model_beside(run: Run, dspark: Path) -> None:
    options = ("--json", "--repeat", "1", "--tokens", "16", "--depths", "0", "--ctx", "512")
    done = run.inside("bench", "-m", dspark, "--mtp", "on", *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    decoded = [figure for figure in figures if figure["what"] == "decode"]
    assert [figure["mtp"] for figure in decoded] == ["on"]
    assert decoded[0]["drafted"] > 0


def test_another_model_s_sidecar_is_refused_with_the_reason(
    run: Run, without: Path, dspark: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(without, tmp_path / "nano.gguf"))
    shutil.copy(dspark.with_name("v4-mtp.gguf"), tmp_path / "nano-mtp.gguf")
    done = run.inside("ask", "-m", model, "--mtp", "on", QUESTION)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("dslocal: nano-mtp.gguf: DSpark drafts for DeepSeek-V4")
    answered = run.inside("ask", "-m", model, "--mtp", "auto", "--temperature", "0", QUESTION)
    assert answered.returncode == 0
    assert b"nano-mtp.gguf: DSpark drafts for DeepSeek-V4" in answered.stderr
    assert b"the model runs without drafting" in answered.stderr


def test_dspark_is_named_and_answers_nothing(run: Run, dspark: Path) -> None:
    sidecar = dspark.with_name("v4-mtp.gguf")
    shown = json.loads(run.inside("show", sidecar, "--json").stdout)
    assert shown["draft_model"] == (
        "DSpark for DeepSeek-V4: up to 5 tokens at a time, from the inputs of layers 3, 4, 5"
    )
    done = run.inside("ask", "-m", sidecar, QUESTION)
    assert done.returncode != 0
    assert b"is DSpark, a draft model, which cannot answer by itself" in done.stderr
