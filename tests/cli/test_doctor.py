"""Proves that ``dslocal doctor`` says what is, names what is wrong with what mends it, and works
when nothing else does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

from dslocal import catalog
from dslocal.catalog.leftovers import PROMPTS
from dslocal.cli import doctor_checks
from dslocal.cli.commands.doctor import OPTIONAL_PACKAGES
from dslocal.errors import EngineMissingError
from dslocal.home import write_state
from dslocal.home.paths import prefix_dir
from dslocal.plan.machine import llama_cpp_build as building
from dslocal.plan.machine.llama_cpp_build import Build
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.unused_gpu import METAL_OFF
from dslocal.terminal import capabilities
from dslocal.terminal.reports import doctor_report

MACHINE = Machine("linux", "some", 4, 16 << 30, 8 << 30)


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").symlink_to(run.home / "cache")
    return Run(tmp_path / "home")


def asked(run: Run, **more: Any) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", **more)
    assert (done.stderr, done.stdout.count(b"\n")) == (b"", 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_sound_installation(own: Run) -> None:
    code, found = asked(own)
    assert (code, found["ok"], [problem for problem in found["problems"] if problem["stops"]]) == (
        0,
        True,
        [],
    )
    assert list(found) == [
        "dslocal",
        "machine",
        "llama.cpp",
        "kernels",
        "folders",
        "cache",
        "config",
        "environment",
        "models",
        "hub",
        "terminal",
        "problems",
        "ok",
    ]
    assert found["llama.cpp"]["version"].startswith("0.3.36")
    assert "CPU" in found["llama.cpp"]["backends"]
    assert found["machine"]["ram"] >= found["machine"]["available"] > 0
    assert found["folders"]["state"] == str(own.home / "state")
    assert found["environment"]["DSLOCAL_HOME"] == str(own.home)
    assert found["models"] == {"last_used": None, "kept": [], "converted": 1}
    assert all(
        version
        for name, version in found["dslocal"]["packages"].items()
        if name not in OPTIONAL_PACKAGES
    )
    text = own("doctor").stdout.decode()
    assert all(
        text.count(f"\n{name}")
        for name in ("machine", "llama.cpp", "config.toml", "terminal", "hub")
    )
    assert "\x1b" not in text


CONFIGS: dict[str, tuple[str, dict[str, str], int, list[tuple[str, str]]]] = {
    "a misspelled key": (
        "temprature = 1",
        {},
        1,
        [("unknown key 'temprature'", "it may be meant as temperature")],
    ),
    "a key that is nothing": ("qqq = 1", {}, 1, [("unknown key 'qqq'", "remove it")]),
    "a value that is not allowed": (
        "temperature = 9",
        {},
        1,
        [("config.toml: 9 is out of range", "temperature is 0 to 5")],
    ),
    "no TOML": ("temperature = ", {}, 1, [("config.toml: Invalid value", "correct or remove")]),
    "a bad variable": (
        "",
        {"DSLOCAL_TOP_P": "7"},
        1,
        [("DSLOCAL_TOP_P: 7 is out of range", "top_p is above 0")],
    ),
    "a bad context": ("ctx = 3", {}, 1, [("the context that is set, 3,", "ctx is 512 or more")]),
    "tokens in thousands": ('ctx = "1k"', {"DSLOCAL_MAX_TOKENS": "2k"}, 0, []),
    "a misspelled variable": (
        "",
        {"DSLOCAL_TEMPRATURE": "1"},
        0,
        [("DSLOCAL_TEMPRATURE: ", "it may be meant as DSLOCAL_TEMPERATURE")],
    ),
    "a model that is not here": (
        'model = "nothing"',
        {},
        1,
        [("no model or file called 'nothing'", "here: nano")],
    ),
    "not a template": (
        "[templates.a]\nprompt = 1",
        {},
        0,
        [("templates.a.prompt: is not text", "dslocal help templates")],
    ),
    "a template with a bad setting": (
        '[templates.a]\nprompt = "x"\ntop_p = 3',
        {},
        0,
        [("template a: 3 is out of range", "top_p is above 0")],
    ),
    "several": (
        'a = 1\nb = 1\n[templates.c]\nprompt = "{x"\ntop_k = 1',
        {},
        1,
        [("unknown key 'a'", ""), ("unknown key 'b'", "")],
    ),
}


@pytest.mark.parametrize(("toml", "env", "code", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_settings(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    env: dict[str, str],
    code: int,
    expected: list[tuple[str, str]],
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(toml)
    found = list(doctor_checks.check_settings())
    if "model" in toml:
        found += doctor_checks.check_models()
    assert len(found) == len(expected)
    for problem, (what, mend) in zip(found, expected, strict=True):
        assert what in problem.what
        assert mend in problem.mend
        assert problem.stops == bool(code)


def test_models_that_are_gone(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    file = tmp_path / "x.gguf"
    catalog.add_installed(
        catalog.InstalledModel("some-model", "Q8_0", file, (file,), 1, "imported", str(file), 1.0)
    )
    write_state("last-model", {"model": str(file)})
    gone, last = doctor_checks.check_models()
    assert (gone.what, gone.mend) == (
        f"some-model:Q8_0: {file} is gone",
        "dslocal rm some-model:Q8_0 forgets it",
    )
    assert last.what.startswith(f"the model used last, {file}, is gone")
    assert [gone.stops, last.stops] == [False, False]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.yaml").write_text("models: [")
    (damaged,) = doctor_checks.check_models()
    assert damaged.stops
    assert "models.yaml" in damaged.what


def test_a_home_that_cannot_be_written_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", Path("/proc/none")):
        code, found = asked(Run(home), cwd=tmp_path)
        whats = [problem["what"] for problem in found["problems"]]
        assert code == 1
        assert [
            sum(f"the {name} folder" in what for what in whats)
            for name in ("cache", "config", "state")
        ] == [1, 1, 1]
        assert {problem["mend"] for problem in found["problems"]} >= {
            "DSLOCAL_HOME=FOLDER moves all of dslocal's folders"
        }


BROKEN = {
    "absent": "raise ModuleNotFoundError('no llama_cpp')",
    "does not load": "raise OSError('libllama.so: cannot open shared object file')",
    "ends its process": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    "prints and leaves": "import os; print('hello'); os._exit(3)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_without_llama_cpp(own: Run, tmp_path: Path, how: str) -> None:
    """One that is in the way of the real one, and cannot be used."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "llama_cpp.py").write_text(BROKEN[how])
    code, found = asked(own, env={"PYTHONPATH": str(tmp_path / "broken")})
    assert (code, found["ok"]) == (1, False)
    (problem,) = [problem for problem in found["problems"] if problem["stops"]]
    assert "llama" in problem["what"]
    assert "pip install" in problem["mend"]
    assert found["machine"]["ram"] > 0
    assert found["folders"]["cache"] == str(own.home / "cache")


@pytest.mark.timeout(120)
def test_a_process_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(building, "PROGRAM", "import time; time.sleep(600)")
    with pytest.raises(EngineMissingError, match="cannot be asked"):
        building.probe_build()


@pytest.mark.parametrize(
    ("features", "flags", "gpu", "said"),
    [
        (("AVX", "AVX2", "FMA", "F16C"), "avx avx2 fma f16c", False, []),
        (
            ("AVX",),
            "avx avx2 fma f16c",
            False,
            ["llama.cpp is built without AVX2, FMA, F16C, which this CPU has: it is slow"],
        ),
        ((), "neon", False, []),
        (
            (),
            "",
            True,
            [
                "this machine seems to have an NVIDIA GPU, and llama.cpp is built without CUDA:"
                " models run on the CPU alone"
            ],
        ),
        (
            ("AVX", "AVX2", "FMA", "F16C"),
            "avx avx2 fma f16c avx512f avx512_vnni",
            False,
            [
                "llama.cpp is built without AVX512, AVX512_VNNI, which this CPU has: prompts are"
                " evaluated more slowly than they could be"
            ],
        ),
        (
            ("AVX", "AVX2", "FMA", "F16C", "AVX512", "AVX512_VNNI"),
            "avx avx2 fma f16c avx512f avx512_vnni",
            False,
            [],
        ),
        (
            ("AVX",),
            "avx avx2 avx512f",
            False,
            ["llama.cpp is built without AVX2, which this CPU has: it is slow"],
        ),
    ],
)
def test_a_build_that_leaves_much_unused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    features: tuple[str, ...],
    flags: str,
    gpu: bool,
    said: list[str],
) -> None:
    if gpu:
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(
        doctor_checks.check_engine(
            Build("0", "", features, (), gpu_offload=False), MACHINE, frozenset(flags.split())
        )
    )
    assert [problem.what for problem in found] == said
    assert all(
        "llama-cpp-python==0.3.36" in problem.mend and not problem.stops for problem in found
    )


def test_a_mac_whose_llama_cpp_lacks_metal() -> None:
    machine = replace(MACHINE, notes=(f"{METAL_OFF}; this changes it",))
    build = Build("0", "", (), (), gpu_offload=False)
    found = list(doctor_checks.check_engine(build, machine, frozenset()))
    assert ["Metal" in problem.what for problem in found] == [True]
    assert "-DGGML_METAL=on" in found[0].mend


@pytest.mark.parametrize(
    ("level", "compiled", "said"),
    [
        ("x86-64-v3", ["x86-64-v4", "x86-64-v3", "x86-64"], ""),
        ("x86-64", ["x86-64-v4", "x86-64-v3", "x86-64"], ""),  # an old processor
        ("baseline", ["baseline"], ""),  # arm64
        ("x86-64", ["x86-64"], "without AVX2"),
        (None, [], "were not compiled"),
    ],
)
def test_kernels_that_were_not_compiled(level: str | None, compiled: list[str], said: str) -> None:
    found = list(doctor_checks.check_kernels(level, compiled))
    assert len(found) == bool(said)
    for problem in found:
        assert said in problem.what
        assert "gcc" in problem.mend
        assert not problem.stops


def test_evaluated_prompts_are_counted(own: Run) -> None:
    """Proves that what ``dslocal serve`` keeps is part of the cache, and named as such."""
    _, without = asked(own)
    assert without["cache"]["prompts"] == 0
    assert b"evaluated prompts" not in own("doctor").stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(own.home))
        kept = prefix_dir() / "0123456789abcdef" / f"1{PROMPTS}"
    kept.parent.mkdir(parents=True)
    try:
        kept.write_bytes(b"x" * 2_500_000)
        _, found = asked(own)
        assert found["cache"]["prompts"] == 2_500_000
        assert found["cache"]["bytes"] >= 2_500_000
        assert b", 2.5 MB of it evaluated prompts; " in own("doctor").stdout
    finally:
        shutil.rmtree(kept.parent)


# A part of the report, and what stands in its line.
LINES: dict[str, tuple[str, object, str]] = {
    "an RPC library": ("rpc", "/here/libggml-rpc.so", "rpc         /here/libggml-rpc.so\n"),
    "no RPC library": ("rpc", None, "rpc         none: dslocal build-rpc makes it, for --rpc\n"),
    "kernels": ("level", "x86-64-v4", "kernels     x86-64-v4\n"),
    "no kernels": (
        "level",
        None,
        "kernels     none: convert quantizes with llama.cpp's own code\n",
    ),
}


@pytest.mark.parametrize(("name", "value", "line"), LINES.values(), ids=LINES)
def test_parts_that_are_missing_say_what_makes_them(
    own: Run, capsys: pytest.CaptureFixture[str], name: str, value: object, line: str
) -> None:
    found = json.loads(own.inside("doctor", "--json").stdout)
    found["kernels" if name == "level" else "llama.cpp"][name] = value
    doctor_report.print_report(found, [])
    assert f"\n{line}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env", "name", "clipboard"),
    [
        ({"TERM": "xterm-kitty"}, "xterm-kitty", "yes"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "wezterm", "yes"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "apple_terminal", "no"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7000"}, "vte", "no"),
        ({"TERM": "screen", "TMUX": "/tmp/x", "TERM_PROGRAM": "tmux"}, "tmux", "unknown"),
        ({"TERM": "dumb"}, "dumb", "no"),
        ({}, "none", "no"),
    ],
)
def test_the_terminal_is_guessed_by_what_it_says(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], name: str, clipboard: str
) -> None:
    for variable in (
        "TERM",
        "TERM_PROGRAM",
        "TMUX",
        "VTE_VERSION",
        "KONSOLE_VERSION",
        "WT_SESSION",
    ):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    found = capabilities.terminal_name()
    assert (found, capabilities.takes_osc52(found)) == (name, clipboard)


def test_secrets_are_not_printed(own: Run) -> None:
    env = {
        "HF_TOKEN": "hf_very_secret",
        "HTTPS_PROXY": "http://me:very_secret@host",
        "HF_HUB_OFFLINE": "1",
    }
    done = own("doctor", "--json", env=env)
    assert b"very_secret" not in done.stdout
    found = json.loads(done.stdout)
    assert (found["environment"]["HF_TOKEN"], found["environment"]["HTTPS_PROXY"]) == ("set", "set")
    assert found["hub"]["offline"] is True


def test_control_characters_are_not_passed_on(own: Run) -> None:
    done = own("doctor", env={"DSLOCAL_\x1b[31m": "1", "HF_HOME": "/tmp/\x1b]0;x\x07"})
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert b"\x07" not in done.stdout
