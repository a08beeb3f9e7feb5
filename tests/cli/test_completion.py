"""Proves what shells are offered at a press of Tab: by their own protocol, and in a real bash; and
that it stays quick to ask.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run, python
from support.terminal.screen import Screen
from test_architecture import HEAVY

from dslocal import catalog
from dslocal.catalog.registry.quick_names import quick_model_names

LOADED = tuple(
    name for name in HEAVY if name != "pydantic"
)  # which Typer itself needs to know a command's options
TOML = '[templates.commit]\nprompt = "{input}"\n[templates.translate]\nprompt = "{input}"\n'


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A home with two templates and, beside it, a few files."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(TOML)
    (tmp_path / "here.gguf").touch()
    (tmp_path / "here.txt").touch()
    (tmp_path / "here folder").mkdir()
    (tmp_path / "$(touch evil).gguf").touch()
    return Run(tmp_path)


def offered(run: Run, line: str) -> list[str]:
    """What comes for the last word of ``line``, which may be empty."""
    words = line.split(" ")
    env = {
        "_DSLOCAL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = run(env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().split("\n")[:-1]


OFFERED: dict[str, tuple[str, list[str]]] = {
    "commands": ("dslocal fi", ["fim", "fit"]),
    "commands of a command": ("dslocal templates ", ["show"]),
    "options": ("dslocal ask --top-", ["--top-p", "--top-k"]),
    "a model's name": (
        "dslocal ask -m deepseek-v2-l",
        ["deepseek-v2-lite", "deepseek-v2-lite-chat"],
    ),
    "a model to be talked with": ("dslocal chat nan", ["nano"]),
    "a model to be measured": ("dslocal bench nan", ["nano"]),
    "a model to be shown": ("dslocal show nan", ["nano"]),
    "a model to be planned": (
        "dslocal fit deepseek-v2-l",
        ["deepseek-v2-lite", "deepseek-v2-lite-chat"],
    ),
    "a model to be fetched": ("dslocal pull deepseek-v2-lite-", ["deepseek-v2-lite-chat"]),
    "a quantization": ("dslocal pull nano --quant Q5", ["Q5_K_M"]),
    "nothing to be removed": ("dslocal rm ", [""]),
    "a quantization to convert to": ("dslocal convert --quant Q5", ["Q5_K_M"]),
    "an importance matrix": ("dslocal quantize --imatrix au", ["auto"]),
    "files of importance matrices": (
        "dslocal convert --imatrix he",
        ["here folder/", "here.gguf"],
    ),
    "ways to read experts": ("dslocal fit --stream-experts o", ["on", "off"]),
    "models to be compared": ("dslocal quality nan", ["nano"]),
    "files that may be models": ("dslocal ask -m he", ["here folder/", "here.gguf"]),
    "templates": ("dslocal ask -t ", ["commit", "translate"]),
    "a template to be shown": ("dslocal templates show tr", ["translate"]),
    "topics": ("dslocal help exit", ["exit-codes"]),
    "types of cache": ("dslocal ask --kv q", ["q8_0", "q4_0"]),
    "types of cache, with =": ("dslocal ask --kv=q8", ["q8_0"]),
    "families": ("dslocal ask --family v3", ["v3.2-speciale", "v3.2", "v3.1", "v3-0324", "v3"]),
    "shells": ("dslocal completion ", ["bash", "fish", "zsh"]),
    "nothing for a question": ("dslocal ask wha", [""]),
    "nothing that is unknown": ("dslocal ask -m zzz", [""]),
}


@pytest.mark.parametrize(("line", "names"), OFFERED.values(), ids=OFFERED)
def test_offered(own: Run, line: str, names: list[str]) -> None:
    assert offered(own, line) == names


def test_a_damaged_config_offers_nothing_and_says_nothing(own: Run) -> None:
    (own.home / "config" / "config.toml").write_text("templates = ")
    assert offered(own, "dslocal ask -t ") == [""]


def test_names_at_a_glance_are_those_of_the_registry(home: Path) -> None:
    assert list(quick_model_names()) == list(catalog.load_registry())


@pytest.mark.parametrize("line", ["dslocal ask --to", "dslocal ask -m dee", "dslocal ask -t c"])
def test_nothing_heavy_is_loaded(own: Run, line: str) -> None:
    words = line.split(" ")
    env = {
        "_DSLOCAL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "DSLOCAL_HOME": str(own.home),
    }
    program = f"""
import sys
from dslocal.cli.main import main
sys.argv = ["dslocal"]
try:
    main()
except SystemExit:
    print("loaded", *(name for name in {LOADED} if name in sys.modules))
"""
    done = python(program, env=env)
    assert done.stdout.splitlines()[-1] == "loaded", done.stderr
    assert len(done.stdout.splitlines()) > 1


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_script_for_each_shell(run: Run, shell: str) -> None:
    done = run.inside("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"_DSLOCAL_COMPLETE" in done.stdout
    assert b"eval" not in done.stdout
    by_default = run.inside("completion", env={"SHELL": f"/some/where/{shell}"})
    assert by_default.stdout == done.stdout


@pytest.mark.parametrize(
    ("args", "env"), [(["tcsh"], {}), ([], {"SHELL": "/bin/tcsh"}), ([], {"SHELL": ""})]
)
def test_another_shell(run: Run, args: list[str], env: dict[str, str]) -> None:
    done = run.inside("completion", *args, env=env)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.endswith(b"(dslocal completion bash|fish|zsh)\n")


# what is typed before Tab, what stands there afterwards
TYPED = [
    ("dslocal templa", "dslocal templates "),
    ("dslocal ask -m deepseek-v2-lite-c", "dslocal ask -m deepseek-v2-lite-chat "),
    ("dslocal ask --kv=q8", "dslocal ask --kv=q8_0 "),
    ("dslocal ask -m here.", "dslocal ask -m here.gguf "),
    ("dslocal ask -m here\\ f", "dslocal ask -m here\\ folder/"),
    ("dslocal ask -m '$(", "dslocal ask -m '$(touch evil).gguf' "),
    ("dslocal ask -f here.t", "dslocal ask -f here.txt "),
    ("dslocal ask 'a b' --fin", "dslocal ask 'a b' --final "),
]


def test_in_a_real_bash(own: Run) -> None:
    env = own.env(
        {
            "PATH": f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(own.home),
            "PS1": "ready$ ",
        }
    )
    with Screen([shutil.which("bash") or "", "--norc", "--noprofile", "-i"], env) as bash:
        bash.press(
            f"cd {own.home}; bind 'set enable-bracketed-paste off'; source <(dslocal completion"
            f" bash); echo so'urced'\r"
        )
        bash.wait_for("sourced\r\n")
        for typed, completed in TYPED:
            bash.press(f"{typed}\t")
            bash.wait_for(completed.removesuffix(" "))
            time.sleep(0.1)  # what is completed too far comes now
            bash.press("\x15\r")
        bash.press("exit\r")
        assert bash.leave() == 0
    assert not (own.home / "evil").exists()
