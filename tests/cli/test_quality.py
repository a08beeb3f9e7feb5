"""``dslocal quality`` as a command: tables, JSON, what is kept or deleted, what is refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.checkpoints.tiny_models import TEXT, write_models
from support.cli.running import Done, Run

from dslocal.terminal.reports import quality_report

FIGURES = {
    "kl": {"mean", "error", "median", "p0_1", "p1", "p5", "p10", "p90", "p95", "p99", "p99_9"}
    | {"minimum", "maximum"},
    "same_top": {"value", "error"},
    "perplexity": {"value", "error"},
    "reference_perplexity": {"value", "error"},
    "log_perplexity_ratio": {"value", "error"},
    "rms_probability_change": {"value", "error"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, two quantizations of it, and a text."""
    made = tmp_path_factory.mktemp("models")
    write_models(made, "dense", ["F16", "Q8_0", "Q4_0"])
    (made / "text.txt").write_text(TEXT)
    return made


@pytest.fixture
def measure(run: Run, folder: Path) -> Callable[..., Done]:
    """Calls ``dslocal quality`` in the folder, over the text in short chunks."""

    def call(*args: str | Path) -> Done:
        common = ("--reference", "dense-F16.gguf", "--text", "text.txt", "--ctx", "64")
        return run.inside("quality", *args, *common, cwd=folder)

    return call


def test_json_has_all_figures_of_every_model(measure: Callable[..., Done]) -> None:
    done = measure("dense-Q8_0.gguf", "dense-Q4_0.gguf", "--json", "--chunks", "4")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reference"]["name"] == "dense-F16"
    assert Path(found["reference"]["logits"]).stat().st_size == found["reference"]["logits_bytes"]
    assert (found["text"], found["n_ctx"], found["chunks"]) == (["text.txt"], 64, 4)
    assert [model["name"] for model in found["models"]] == ["dense-Q8_0", "dense-Q4_0"]
    first, second = found["models"]
    assert first["bytes"] > second["bytes"]
    assert first["bits_per_weight"] > second["bits_per_weight"]
    assert 0 < first["kl"]["mean"] < second["kl"]["mean"]
    for model in found["models"]:
        assert model["tokens"] == 4 * 31
        for name, fields in FIGURES.items():
            assert set(model[name]) == fields


def test_several_models_are_rows(measure: Callable[..., Done]) -> None:
    done = measure("dense-Q8_0.gguf", "dense-Q4_0.gguf", "--tokens", "200")
    lines = done.stdout.decode().splitlines()
    heading = next(n for n, line in enumerate(lines) if line.startswith("model"))
    assert [line.split()[0] for line in lines[heading + 1 : heading + 3]] == [
        "dense-Q8_0",
        "dense-Q4_0",
    ]
    assert max(map(len, lines)) <= 200
    assert b"\x1b" not in done.stdout


def test_one_model_is_shown_line_by_line(measure: Callable[..., Done]) -> None:
    done = measure("dense-Q4_0.gguf", "--tokens", "200")
    shown = done.stdout.decode()
    for label in ("KL divergence, mean", "maximum", "same likeliest token", "perplexity"):
        assert label in shown


def test_what_is_kept_is_listed_and_deleted(run: Run, measure: Callable[..., Done]) -> None:
    measure("dense-Q4_0.gguf", "--chunks", "2")
    listed = json.loads(run.inside("models", "--json").stdout)["logits"]
    assert {Path(kept["path"]).suffix for kept in listed} == {".kld", ".scores"}
    assert b"dslocal rm --logits" in run.inside("models").stdout
    removed = json.loads(run.inside("rm", "--logits", "--yes", "--json").stdout)
    assert removed["freed"] >= sum(kept["bytes"] for kept in listed)
    assert json.loads(run.inside("models", "--json").stdout)["logits"] == []
    assert not any(Path(kept["path"]).exists() for kept in listed)


def test_out_keeps_the_logits_for_later(
    run: Run, measure: Callable[..., Done], folder: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base.kld"
    assert measure("dense-Q4_0.gguf", "--chunks", "2", "-o", base).returncode == 0
    other = measure("dense-Q4_0.gguf", "--chunks", "3", "-o", base)
    assert (other.returncode, b"--force" in other.stderr) == (2, True)
    assert measure("dense-Q4_0.gguf", "--chunks", "3", "-o", base, "--force").returncode == 0
    again = run.inside("quality", folder / "dense-Q8_0.gguf", "--reference", base, "--json")
    assert json.loads(again.stdout)["chunks"] == 3
    fixed = run.inside("quality", folder / "dense-Q8_0.gguf", "--reference", base, "--ctx", "32")
    assert fixed.returncode == 2


def test_nano_is_measured_on_the_conversations_that_ship(run: Run) -> None:
    done = run("quality", "nano", "--reference", "nano", "--chunks", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["models"][0]["same_top"]["value"] == 1
    assert found["models"][0]["name"] == found["reference"]["name"] == "nano-Q8_0"
    assert len(found["text"]) == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nano"], 2, "--reference"),
        (["nano", "--reference", "dense-F16.gguf"], 2, "4,096"),
        (["dense-F16.gguf", "--reference", "no-such-model"], 3, "no-such-model"),
        (["no-such.gguf", "--reference", "dense-F16.gguf"], 3, "no-such.gguf"),
        (["dense-F16.gguf", "--reference", "text.txt"], 1, "text.txt"),
        (
            ["nano", "--reference", "nano", "--tokens", "5", "--chunks", "5"],
            2,
            "--tokens and --chunks",
        ),
        (["nano", "--reference", "nano", "--plot", "x.pdf"], 2, "neither SVG nor PNG"),
        (["nano", "--reference", "nano", "-o", "no/such/folder.kld"], 3, "no/such"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    run: Run, folder: Path, args: list[str], code: int, message: str
) -> None:
    done = run.inside("quality", *args, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1)
    assert message in done.stderr.decode()


def test_a_plot_without_matplotlib_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "matplotlib" else find(name, *more),
    )
    done = run.inside("quality", "nano", "--reference", "nano", "--plot", "x.svg")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"dslocal[plot]" in done.stderr


def test_a_plot_shows_every_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, tuple[Any, ...]]] = []

    class Axes:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args, **named: calls.append((name, args))

    def save(path: Path, *, format: str, **_: Any) -> None:
        Path(path).write_text(format)

    drawn = SimpleNamespace(subplots=Axes, savefig=save)
    backend = ModuleType("matplotlib.backends.backend_agg")
    backend.FigureCanvasAgg = lambda figure: None  # type: ignore[attr-defined]
    figure = ModuleType("matplotlib.figure")
    figure.Figure = lambda **_: drawn  # type: ignore[attr-defined]
    modules = {"matplotlib.backends.backend_agg": backend, "matplotlib.figure": figure}
    for name in ("matplotlib", "matplotlib.backends"):
        modules[name] = ModuleType(name)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    measured: Any = SimpleNamespace(
        reference="base",
        models=[
            SimpleNamespace(
                name=name,
                nbytes=nbytes,
                figures=SimpleNamespace(kl=SimpleNamespace(mean=mean)),
            )
            for name, nbytes, mean in (("large", 2e9, 0.1), ("small$", 1e9, 0.4))
        ],
    )
    quality_report.save_plot(measured, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text() == "svg"
    assert ("plot", ([1.0, 2.0], [0.4, 0.1])) in calls
    assert [args[0] for name, args in calls if name == "annotate"] == [r"small\$", "large"]
