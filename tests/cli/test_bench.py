"""Proves that ``bench`` measures what it says, in 80 columns or as JSON, compares with honest files
alone, and keeps what it has.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen

from dslocal.engine.measuring import benchmark
from dslocal.terminal.reports import bench_report
from dslocal.terminal.reports.bench_report import BenchFigure, Curve, curves, table

QUICK = ("bench", "nano", "--repeat", "1", "--tokens", "8", "--depths", "0,64")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def measured(run: Run) -> Json:
    done = run.inside(*QUICK, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found: Json = json.loads(done.stdout)
    return found


@pytest.fixture
def old(measured: Json, tmp_path: Path) -> Callable[[Callable[[Json], Any]], Path]:
    """A file of what was measured, changed."""

    def write(change: Callable[[Json], Any]) -> Path:
        content = copy.deepcopy(measured)
        changed = change(content)
        path = tmp_path / "old.json"
        path.write_text(json.dumps(content if changed is None else changed))
        return path

    return write


def test_json_says_what_was_measured_of_what(measured: Json, nano: Path) -> None:
    keys = [
        (figure["what"], figure.get("size"), figure.get("mtp")) for figure in measured["figures"]
    ]
    decode = [("decode", depth, way) for depth in (0, 64) for way in ("off", "on")]
    assert keys == [
        *((what, None, None) for what in ("load", "cold", "warm", "sampling")),
        ("prefill", 512, None),
        *decode,
    ]
    for figure in measured["figures"]:
        assert figure["unit"] == ("tokens/s" if figure["what"] in ("prefill", "decode") else "s")
        assert len(figure["runs"]) == 1
        assert 0 < figure["low"] == figure["median"] == figure["high"] < 1e6
        assert ("forecast" in figure) is (figure.get("mtp") == "off")
    assert measured["model"] | {"fingerprint": ""} == {
        "name": "nano",
        "quant": "Q8_0",
        "bytes": nano.stat().st_size,
        "fingerprint": "",
    }
    settings = measured["settings"]
    assert (settings["threads"], settings["n_ctx"], settings["kv_type"], settings["tokens"]) == (
        1,
        4096,
        "f16",
        8,
    )
    assert (settings["temperature"], settings["top_p"]) == (0.6, 0.95)
    assert measured["machine"]["cores"] > 0
    assert measured["interrupted"] is False


def test_drafts_are_made_only_with_mtp_on(measured: Json) -> None:
    drafted = {
        figure["mtp"]: figure["drafted"]
        for figure in measured["figures"]
        if figure["what"] == "decode" and figure["size"] == 0
    }
    assert drafted["off"] == 0 < drafted["on"]


def test_table_fits_80_columns_and_goes_as_deep_as_the_context(run: Run) -> None:
    done = run.inside(
        "bench",
        "nano",
        "--repeat",
        "2",
        "--tokens",
        "8",
        "--depths",
        "99999,1024,200",
        "--ctx",
        "512",
        "--mtp",
        "off",
        "--kv",
        "q8_0",
    )
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr, max(map(len, lines)) <= 80) == (0, b"", True)
    assert lines[0].startswith("nano, Q8_0, 22.6 MB")
    assert lines[1] == "512 tokens of context, q8_0 KV cache, 1 thread; measured 2 times"
    titles = [line[:33].strip() for line in lines[3:]]
    assert titles[:5] == [
        "loading",
        "first token, cold",
        "first token, prompt cached",
        "sampling a token",
        "prefill of 512 tokens",
    ]
    assert titles[5:7] == ["decode at 200 tokens, MTP off", "decode at 503 tokens, MTP off"]
    assert len(titles) == 8


def test_compare(run: Run, old: Callable[[Callable[[Json], Any]], Path]) -> None:
    def halved(content: Json) -> None:
        content["figures"] = [
            figure | {"median": 1e-9} for figure in content["figures"] if figure["what"] == "load"
        ]

    done = run.inside(*QUICK, "--json", "--compare", old(halved))
    found = json.loads(done.stdout)
    load = next(figure for figure in found["figures"] if figure["what"] == "load")
    assert found["compared"] == [
        {"what": "load", "size": 0, "mtp": "", "ratio": pytest.approx(load["median"] * 1e9)}
    ]


def without(key: str) -> Callable[[Json], Any]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def with_figure(**changes: Any) -> Callable[[Json], Any]:
    return lambda content: {**content, "figures": [content["figures"][0] | changes]}


HOSTILE: list[tuple[str, Callable[[Json], Any], str]] = [
    (
        "another model",
        lambda content: content["model"].update(fingerprint="0" * 64, name="x" * 500),
        "is of another model, 'xxx",
    ),
    ("no model", without("model"), "is not the output of dslocal bench --json"),
    ("no figures", without("figures"), "is not the output of dslocal bench --json"),
    ("a list", lambda _: [1, 2], "is not the output of dslocal bench --json"),
    (
        "figures in an object",
        lambda content: {**content, "figures": {}},
        "is not the output of dslocal bench --json",
    ),
    (
        "a fingerprint that is not one",
        lambda content: {**content, "model": {"fingerprint": 7}},
        "is not the output of dslocal bench --json",
    ),
    ("a median of nothing", with_figure(median=None), "has an entry that is not a measurement"),
    ("a median of 0", with_figure(median=0), "has an entry that is not a measurement"),
    (
        "an infinite median",
        with_figure(median=float("inf")),
        "has an entry that is not a measurement",
    ),
    (
        "a median that is not a number",
        with_figure(median=float("nan")),
        "has an entry that is not a measurement",
    ),
    ("a median of 10^400", with_figure(median=10**400), "has an entry that is not a measurement"),
    ("a true median", with_figure(median=True), "has an entry that is not a measurement"),
    ("a list for a name", with_figure(what=["load"]), "has an entry that is not a measurement"),
    ("an object for a size", with_figure(size={}), "has an entry that is not a measurement"),
    (
        "a number for a figure",
        lambda content: {**content, "figures": [1]},
        "has an entry that is not a measurement",
    ),
    (
        "a quantization is given twice",
        lambda content: {**content, "figures": content["figures"][:1] * 2},
        "has the same figure twice",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_what_cannot_be_compared_with_is_refused_before_measuring(
    run: Run,
    old: Callable[[Callable[[Json], Any]], Path],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Json], Any],
    words: str,
) -> None:
    monkeypatch.setattr(benchmark, "measure_first_token", lambda *_: pytest.fail("measured"))
    done = run.inside(*QUICK, "--compare", old(change))
    line = done.stderr.decode()
    assert (done.returncode, done.stdout, line.count("\n"), len(line) < 300) == (1, b"", 1, True)
    assert words in line


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b" " * (5 << 20)])
def test_what_is_not_json_is_refused(run: Run, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "old.json").write_bytes(data)
    done = run.inside(*QUICK, "--compare", tmp_path / "old.json")
    assert (
        done.returncode,
        done.stderr.count(b"\n"),
        b"is not the output of dslocal bench --json" in done.stderr,
    ) == (1, 1, True)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--compare", "missing.json"), 3, "missing.json: no such file"),
        (("--depths", "1,x"), 2, "--depths: '1,x' is not a list of numbers of tokens"),
        (("--depths", ""), 2, "--depths: '' is not a list of numbers of tokens"),
        (("--depths", "-1"), 2, "--depths: '-1' is not a list of numbers of tokens"),
        (("--mtp", "often"), 2, "--mtp: 'often' is not known (auto, on, off, both)"),
        (("--plot", "speed.pdf"), 2, "--plot: 'speed.pdf' is not a PNG"),
        (("--ctx", "512", "--tokens", "600"), 2, "--tokens: 600 do not fit into a context of 512"),
        (("--repeat", "0"), 2, "--repeat: 0 is out of range"),
    ],
)
def test_options_that_cannot_be_meant(
    run: Run, args: tuple[str, ...], code: int, words: str
) -> None:
    done = run.inside("bench", "nano", *args)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1)
    assert words in done.stderr.decode()


def test_ctrl_c_leaves_what_was_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "measure_decoding", interrupted)
    done = run.inside(*QUICK, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["interrupted"]) == (130, True)
    assert [figure["what"] for figure in found["figures"]] == [
        "load",
        "cold",
        "warm",
        "sampling",
        "prefill",
    ]


def test_progress_on_a_terminal(run: Run) -> None:
    with Screen(
        [str(BINARY), "bench", "nano", "--repeat", "100", "--tokens", "64", "--depths", "0,64"],
        run.env(),
    ) as screen:
        screen.wait_for(".gguf: decode at 64 tokens, MTP off, ")
        screen.press("\x03")
        screen.wait_for("prefill of 512 tokens")
        assert screen.leave() == 130


def test_plot_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "matplotlib" else find(name, *more),
    )
    done = run.inside(*QUICK, "--plot", tmp_path / "speed.png")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        b"",
        b"dslocal: --plot needs matplotlib (pip install 'dslocal[plot]')\n",
    )


FIGURES = [
    BenchFigure("load", runs=[0.5]),
    BenchFigure("decode", 1024, "on", runs=[9.0, 12.0, 10.0], drafted=50, accepted=40),
    BenchFigure("decode", 1024, "off", runs=[8.0], forecast=9.5),
    BenchFigure("decode", 0, "off", runs=[20.0, 30.0]),
    BenchFigure("decode", 0, "on", runs=[40.0]),
]


def test_curves() -> None:
    assert curves(FIGURES) == [
        Curve("without MTP", (0, 1024), (25.0, 8.0)),
        Curve("with MTP", (0, 1024), (40.0, 10.0)),
    ]
    assert curves(FIGURES[:1]) == []
    assert curves([BenchFigure("decode", 0, "", runs=[1.0])]) == [Curve("decode", (0,), (1.0,))]


def test_table_rows() -> None:
    lines = table(FIGURES[:3], ["x" * 200], {FIGURES[2].key: 1.234})
    assert lines == [
        "x" * 79 + "…",
        "                                     median     lowest to highest forecast x old",
        "loading                            500.0 ms  500.0 ms to 500.0 ms",
        "decode at 1,024 tokens, MTP on         10.0          9.00 to 12.0",
        "  40 of 50 drafts were accepted (80%)",
        "decode at 1,024 tokens, MTP off        8.00          8.00 to 8.00     9.50  1.23",
        "prefill and decode in tokens per second",
    ]


def test_a_plot_has_every_curve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plotted: list[tuple[Any, ...]] = []
    axes = SimpleNamespace(plot=lambda *args, **named: plotted.append((*args, named["label"])))
    for name in ("set", "set_ylim", "grid", "legend"):
        setattr(axes, name, lambda **_: None)
    drawing = SimpleNamespace(
        subplots=lambda: axes, savefig=lambda path, **_: Path(path).write_bytes(b"PNG")
    )
    backend, figure = ModuleType("matplotlib.backends.backend_agg"), ModuleType("matplotlib.figure")
    backend.FigureCanvasAgg = lambda _: None  # type: ignore[attr-defined]
    figure.Figure = lambda **_: drawing  # type: ignore[attr-defined]
    for name, module in (
        ("matplotlib.backends.backend_agg", backend),
        ("matplotlib.figure", figure),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("matplotlib", "matplotlib.backends"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    bench_report.save_plot(curves(FIGURES), "nano", tmp_path / "speed.png")
    assert plotted == [
        ((0, 1024), (25.0, 8.0), "without MTP"),
        ((0, 1024), (40.0, 10.0), "with MTP"),
    ]
    assert (tmp_path / "speed.png").read_bytes() == b"PNG"
