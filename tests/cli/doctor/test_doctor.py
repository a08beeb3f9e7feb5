"""Proves that ``dslocal doctor`` describes the installation, names each fault with its remedy, and
works when nothing else does.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from support.cli.doctor_answers import asked
from support.cli.running import Run

from dslocal import catalog
from dslocal.catalog.leftovers import PROMPTS
from dslocal.cli import doctor_checks
from dslocal.cli.commands.doctor import OPTIONAL_PACKAGES
from dslocal.engine.graph.node_filter import load_library
from dslocal.home import write_state
from dslocal.home.paths import prefix_dir
from dslocal.terminal import capabilities
from dslocal.terminal.reports.doctor_report import print_report


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
    assert found["kernels"]["graph_filter"] is (load_library() is not None)
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


def test_models_that_are_gone(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    file = tmp_path / "x.gguf"
    catalog.add_installed(
        catalog.InstalledModel("some-model", "Q8_0", file, (file,), 1, "imported", str(file), 1.0)
    )
    write_state("last-model", {"model": str(file)})
    gone, last = doctor_checks.check_models()
    assert (gone.what, gone.mend) == (
        f"some-model:Q8_0: {file} no longer exists",
        "dslocal rm some-model:Q8_0 removes the model",
    )
    assert last.what.startswith(f"the model used last, {file}, no longer exists")
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


def test_evaluated_prompts_are_counted(own: Run) -> None:
    """Proves that what ``dslocal serve`` keeps is part of the cache, and named as such."""
    _, without = asked(own)
    assert without["cache"]["prompts"] == 0
    assert b"evaluated prompts" not in own("doctor").stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(own.home))
        kept = prefix_dir() / "0123456789abcdef" / f"1{PROMPTS[0]}"
    kept.parent.mkdir(parents=True)
    try:
        kept.write_bytes(b"x" * 2_500_000)
        _, found = asked(own)
        assert found["cache"]["prompts"] == 2_500_000
        assert found["cache"]["bytes"] >= 2_500_000
        assert b", 2.5 MB of it evaluated prompts; " in own("doctor").stdout
    finally:
        shutil.rmtree(kept.parent)


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


class TerminalText(io.StringIO):
    """A text that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_long_lines_are_wrapped_below_themselves_on_a_terminal_alone(
    own: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = asked(own)
    problem = {"stops": False, "what": "word " * 40, "mend": "another " * 30}
    shown: dict[type[io.StringIO], list[str]] = {}
    monkeypatch.setenv("COLUMNS", "80")
    for kind in (io.StringIO, TerminalText):
        with kind() as out, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", out)
            print_report(found, [problem])
            shown[kind] = out.getvalue().splitlines()
    piped, wrapped = shown.values()
    assert [line for line in piped if line.startswith("! ")] == [
        line for line in piped if "→" in line
    ]
    assert max(map(len, piped)) > 400
    start = next(number for number, line in enumerate(wrapped) if line.startswith("! "))
    finding = wrapped[start:-1]
    assert len(finding) > 5
    assert all(line.startswith("  ") for line in finding[1:])
    assert all(len(line) < 80 for line in finding)
    assert " ".join(" ".join(finding).split()) in " ".join(" ".join(piped).split())
