"""Proves the contract of ``dslocal ask`` that scripts rely on, case by case: what goes in, what
comes out where. The slow tests prove it of the real binary for every case.

Whatever is not named in a case is nothing: stdout is compared byte for byte, and stderr is empty
unless the case says what is in it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from support.cli.running import BINARY, Done, Run
from support.terminal.screen import Screen

PERU = "capital of peru"
LIMA = b"The capital of Peru is Lima.\n"
SUM = "What is 47 × 86?"
BOXED = b"The final answer is \\boxed{4042}.\n"
UNBOXED = (
    "--no-math: its model card recommends to ask a mathematical question with: Please"
    " reason step by step"
)
BABBLE = "--no-think --temperature 5 --max-tokens 3000 --seed 1 hello"  # answers without an end
TOO_MUCH = b"a" * ((8 << 20) + 1)
HUGE = b"the quick brown fox\n" * 100_000

# arguments, stdin, exit code, stdout, what stderr has (nothing, unless named)
CASES: dict[str, tuple[list[str], bytes, int, bytes, str]] = {
    "argument alone": ([PERU], b"", 0, LIMA, ""),
    "stdin alone": ([], b"capital of peru\n", 0, LIMA, ""),
    "argument and stdin": (["capital of peru"], b"I have a question.\n", 0, LIMA, ""),
    "neither": ([], b"", 2, b"", 'nothing to ask (dslocal ask "'),
    "blank argument, blank stdin": ([" "], b" \n\n", 2, b"", "nothing to ask"),
    "blank argument, a question on stdin": ([""], b"capital of peru\n", 0, LIMA, ""),
    "a file without a question": (["-f", str(BINARY)], b"", 2, b"", "a file is not a question"),
    "stdin with a byte order mark": ([], b"\xef\xbb\xbfcapital of peru", 0, LIMA, ""),
    "stdin with Windows' line ends": ([], b"capital of peru\r\n", 0, LIMA, ""),
    "stdin in UTF-16": ([], "capital of peru".encode("utf-16"), 0, LIMA, ""),
    "a sum": ([SUM, "--seed", "1"], b"", 0, BOXED, ""),
    "a sum on stdin": (["--seed", "1"], SUM.encode(), 0, BOXED, ""),
    "a sum without the directive": (
        [SUM, "--seed", "1", "--no-math"],
        b"",
        0,
        b"The answer is 4042.\n",
        UNBOXED,
    ),
    "bypassed thought": (
        [PERU, "--no-think"],
        b"",
        0,
        LIMA,
        "thinking bypassed: its model card recommends",
    ),
    "hidden thought": ([PERU, "--hide-thinking"], b"", 0, LIMA, ""),
    "another family": (
        [PERU, "--family", "v9"],
        b"",
        2,
        b"",
        "no family is called 'v9' (known: nano, ",
    ),
    "thinking where there is none": (
        [PERU, "--family", "v2", "--think"],
        b"",
        2,
        b"",
        "has no reasoning",
    ),
    "two answers": ([PERU, "-n", "2", "--temperature", "0.6"], b"", 0, LIMA + b"---\n" + LIMA, ""),
    "vote": ([SUM, "-n", "4", "--vote", "--seed", "1"], b"", 0, b"4042\n", "4 of 4 agree"),
    "no majority": (
        [PERU, "-n", "2", "--vote", "--max-tokens", "5"],
        b"",
        6,
        b"",
        "no majority among 2 answers",
    ),
    "no sample": ([PERU, "-n", "0"], b"", 2, b"", "-n 0 is out of range (1 to 1024)"),
    "a vote of one": ([PERU, "-n", "1", "--vote"], b"", 2, b"", "a vote needs two answers"),
    "not search results": (
        [PERU, "--search-results", str(BINARY)],
        b"",
        2,
        b"",
        "dslocal",
    ),
    "no search results": (
        [PERU, "--search-results", "/no/file"],
        b"",
        3,
        b"",
        "/no/file: no such file",
    ),
    "a misspelled file": (
        ["-f", str(BINARY)[:-1], "x"],
        b"",
        3,
        b"",
        "no such file (there is dslocal",
    ),
    "no schema": ([PERU, "--schema", "/no/file"], b"", 3, b"", "/no/file: no such file"),
    "final": (["--final", SUM, "--seed", "1"], b"", 0, b"4042\n", ""),
    "final without a box": (
        ["--final", "\\boxed", "--seed", "1"],
        b"",
        1,
        b"",
        "no \\boxed{} in it (without --final",
    ),
    "final, cut before the box": (
        ["--final", PERU, "--max-tokens", "5"],
        b"",
        5,
        b"",
        "cut after 5 tokens",
    ),
    "cut while thinking": ([SUM, "--max-tokens", "5"], b"", 5, b"", "cut after 5 tokens"),
    "advice": (
        [PERU, "--temperature", "0"],
        b"",
        0,
        LIMA,
        "temperature 0: R1's model card recommends 0.5 to 0.7",
    ),
    "binary stdin": ([], b"\x7fELF\0", 2, b"", "stdin: is a program (ELF), not text"),
    "random bytes on stdin": (["x"], b"\x81\xfe\xc3\x28\xff\x9d\xa0", 2, b"", "stdin: is"),
    "too much on stdin": ([], TOO_MUCH, 2, b"", "stdin: more than 8,388,608 bytes"),
    "too much for the context": ([], b"47 " * 2000, 5, b"", "the context holds 4,096"),
    "far too much for the context": (["Who jumps?"], HUGE, 5, b"", "the context holds 4,096"),
    "an address": (["-f", "https://a.b/c", "x"], b"", 3, b"", "an address is not fetched"),
    "missing file": (["-f", "/no/file", "x"], b"", 3, b"", "/no/file: no such file"),
    "binary file": (
        ["-f", str(BINARY.with_name("python")), "x"],
        b"",
        2,
        b"",
        "is a program (ELF), not text",
    ),
    "unknown model": (
        ["-m", "deepsek-r1", PERU],
        b"",
        3,
        b"",
        "'deepsek-r1' (near it: deepseek-r1",
    ),
    "a known model that is not here": (
        ["-m", "deepseek-r1", PERU],
        b"",
        3,
        b"",
        "dslocal pull deepseek-r1",
    ),
    "model with control characters": (
        ["-m", "\x1b]0;x\x07\x1b[31m", PERU],
        b"",
        3,
        b"",
        "no model or file called",
    ),
    "not a checkpoint folder": (["-m", "/", PERU], b"", 3, b"", "config.json"),
    "not a GGUF file": (["-m", str(BINARY), PERU], b"", 1, b"", "not a GGUF file"),
    "temperature too high": (
        ["--temperature", "9", PERU],
        b"",
        2,
        b"",
        "--temperature: 9.0 is out of range (temperature is 0 to 5)",
    ),
    "temperature is not a number": (
        ["--temperature", "nan", PERU],
        b"",
        2,
        b"",
        "(temperature is 0 to 5)",
    ),
    "a range before a model": (
        ["--temperature", "9", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "--temperature: 9.0 is out of range",
    ),
    "a KV type before a model": (
        ["--kv", "f8", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "--kv: 'f8' is not known",
    ),
    "a family before a model": (
        ["--family", "v9", "-m", "/no/model", PERU],
        b"",
        2,
        b"",
        "no family is called 'v9'",
    ),
    "top-p of 0": (["--top-p", "0", PERU], b"", 2, b"", "--top-p: 0.0 is out of range"),
    "max-tokens of 0": (
        ["--max-tokens", "0", PERU],
        b"",
        2,
        b"",
        "--max-tokens: 0 is out of range",
    ),
    "context too small": (
        ["--ctx", "100", PERU],
        b"",
        2,
        b"",
        "--ctx: 100 is out of range (this model takes 512 to 4096)",
    ),
    "context too large": (["--ctx", "4097", PERU], b"", 2, b"", "--ctx: 4097 is out of range"),
    "negative seed": (["--seed", "-1", PERU], b"", 2, b"", "--seed: -1 is out of range"),
    "a template that is not there": (
        ["-t", "commit", PERU],
        b"",
        3,
        b"",
        "no template is called 'commit'",
    ),
    "a variable without a template": (
        ["-p", "a=b", PERU],
        b"",
        2,
        b"",
        "-p has no place without a template",
    ),
}

COPY = "cp -r $DSLOCAL_HOME own"
OWN = f"DSLOCAL_HOME=$PWD/own dslocal ask '{PERU}'"
AT_HOME = f"dslocal ask '{PERU}'"
# what bash runs, exit code, stdout, what stderr has (nothing, unless named). ``$full`` begins a
# command whose home has no room
SCRIPTS: dict[str, tuple[str, int, bytes, str]] = {
    "no stdin at all": (f"{AT_HOME} <&-", 0, LIMA, ""),
    "no stderr at all": (f"{AT_HOME} 2>&-", 0, LIMA, ""),
    "no stdout at all": (f"{AT_HOME} >&-", 1, b"", "stdout is closed"),
    "a here-document": ("dslocal ask <<< 'capital of peru'", 0, LIMA, ""),
    "a file from a pipe": (
        (
            "dslocal ask -f <(echo 'port = 8080') 'What is the port?' --temperature 0 2>/dev/null |"
            " grep -c 8080"
        ),
        0,
        b"1\n",
        "",
    ),
    "a reader that leaves": (
        f"dslocal ask {BABBLE} 2>/dev/null | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        0,
        b"141\n",
        "",
    ),
    "a reader of one line": (f"{AT_HOME} | head -1; echo ${{PIPESTATUS[0]}}", 0, LIMA + b"0\n", ""),
    "a full disk": (f"{AT_HOME} >/dev/full", 1, b"", "dslocal: stdout: No space left on device"),
    "a full disk, JSON": (
        f"{AT_HOME} --json >/dev/full",
        1,
        b"",
        "dslocal: stdout: No space left on device",
    ),
    "a full disk, dry run": (
        f"{AT_HOME} --dry-run >/dev/full",
        1,
        b"",
        "dslocal: stdout: No space left on device",
    ),
    "a full home": (f"DSLOCAL_HOME=$PWD/new $full {AT_HOME}", 1, b"", "{full}"),
    "an empty home": (f"DSLOCAL_HOME=$PWD/new {AT_HOME} 2>/dev/null", 0, LIMA, ""),
    "a home that is a file": (
        f"touch home; DSLOCAL_HOME=$PWD/home {AT_HOME}",
        1,
        b"",
        "Not a directory (DSLOCAL_HOME moves it)",
    ),
    "a home that cannot be": (
        f"DSLOCAL_HOME=/proc/none {AT_HOME}",
        1,
        b"",
        "(DSLOCAL_HOME moves it)",
    ),
    "a state that cannot be kept": (
        f"{COPY}; rm -rf own/state; touch own/state; {OWN} -m nano",
        0,
        LIMA,
        "",
    ),
    "a cache that is gone": (
        f"{COPY}; rm -rf own/cache; {OWN}",
        0,
        LIMA,
        "converted nano in ",
    ),
    "not a config.toml": (
        f"mkdir -p own/config; echo 'temprature = 1' > own/config/config.toml; {OWN}",
        2,
        b"",
        "unknown key 'temprature'",
    ),
    "a setting of the environment": (
        f"DSLOCAL_TEMPERATURE=hot {AT_HOME}",
        2,
        b"",
        "DSLOCAL_TEMPERATURE: 'hot' is not a number",
    ),
    "colours asked for": (
        f"FORCE_COLOR=1 CLICOLOR_FORCE=1 TERM=xterm-256color {AT_HOME}",
        0,
        LIMA,
        "",
    ),
    "a locale without Unicode": (
        "LC_ALL=C PYTHONUTF8=0 dslocal ask 'What is 47 × 86?' --seed 1",
        0,
        BOXED,
        "",
    ),
    "a debugged error": (
        "dslocal --debug ask -m nothing x 2>&1 >/dev/null | grep -c Traceback",
        0,
        b"1\n",
        "",
    ),
    "a loop over lines": (
        f"printf 'a\\nb\\n' | while read -r line; do echo $line; {AT_HOME} </dev/null; done",
        0,
        b"a\n" + LIMA + b"b\n" + LIMA,
        "",
    ),
}


# what the default run tries of them as processes; the others are slow
FEW_CASES = ("argument alone", "neither", "a sum on stdin", "too much on stdin", "unknown model")
FEW_SCRIPTS = (
    "no stdout at all",
    "a reader that leaves",
    "a full disk",
    "an empty home",
    "a home that cannot be",
    "a locale without Unicode",
)


def selected(names: Iterable[str], few: Collection[str]) -> list[ParameterSet]:
    """Parameters of which all but ``few`` are slow."""
    return [
        pytest.param(name, id=name, marks=[] if name in few else pytest.mark.slow) for name in names
    ]


def in_bash(run: Run, folder: Path, script: str) -> Done:
    env = run.env({"PATH": f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}"})
    return subprocess.run(
        ["bash", "-c", script.replace("$full", full_home()[0])],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@functools.cache
def full_home() -> tuple[str, str]:
    """What goes before a command so that its new home has no room, and what is said then. A small
    disk, where one can be mounted.
    """
    small = "mkdir -p $DSLOCAL_HOME && mount -t tmpfs -o size=1m none $DSLOCAL_HOME && exec"
    unshare = shutil.which("unshare")
    tried = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", f"{small} true"]
    with_home = {"DSLOCAL_HOME": "/tmp", "PATH": os.environ["PATH"]}
    if (
        unshare
        and subprocess.run(tried, env=with_home, capture_output=True, check=False).returncode == 0
    ):
        return (
            f"unshare --user --map-root-user --mount sh -c '{small} \"$@\"' sh",
            " are needed, 0.001 GB are free (make room",
        )
    return "bash -c 'ulimit -f 64; exec \"$@\"' bash", "File too large"


def judge(done: Done, code: int, stdout: bytes, stderr: str) -> None:
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, stdout), said
    assert stderr in said
    assert bool(said) == bool(stderr)
    assert "\x1b" not in said
    assert "Traceback" not in said


def judge_case(done: Done, name: str) -> None:
    """An error is one line, which names the program and says what would help."""
    _, _, code, stdout, stderr = CASES[name]
    judge(done, code, stdout, stderr)
    said = done.stderr.decode()
    assert said.count("\n") == bool(stderr)
    assert said.endswith(")\n") or code not in (1, 2, 3, 4)
    assert said.startswith("dslocal: ") == (bool(stderr) and stderr != "4 of 4 agree")


@pytest.mark.parametrize("name", CASES)
def test_ask(run: Run, name: str) -> None:
    arguments, stdin, *_ = CASES[name]
    judge_case(run.inside("ask", *arguments, stdin=stdin), name)


@pytest.mark.parametrize("name", selected(CASES, FEW_CASES))
def test_ask_as_a_process(run: Run, name: str) -> None:
    arguments, stdin, *_ = CASES[name]
    judge_case(run("ask", *arguments, stdin=stdin), name)


@pytest.mark.parametrize("name", selected(SCRIPTS, FEW_SCRIPTS))
def test_ask_in_a_shell(run: Run, tmp_path: Path, name: str) -> None:
    script, code, stdout, stderr = SCRIPTS[name]
    if stderr == "{full}":
        stderr = full_home()[1]
    judge(in_bash(run, tmp_path, script), code, stdout, stderr)


# what is piped, arguments, exit code, what the screen shows in this order, what it does not
SCREENS: dict[str, tuple[tuple[str, ...], list[str], dict[str, str], int, list[str], list[str]]] = {
    "all of it": (
        (),
        [PERU, "--seed", "1"],
        {},
        0,
        ["capital", LIMA.decode().strip(), "seed 1"],
        [],
    ),
    "nothing to ask": ((), [], {}, 2, ["nothing to ask"], []),
    "stdout alone is piped": (
        ("stdout",),
        [PERU, "--seed", "1"],
        {},
        0,
        ["\x1b[2m", "seed 1"],
        [LIMA.decode().strip()],
    ),
    "no colour": (("stdout",), [PERU, "--seed", "1"], {"NO_COLOR": "1"}, 0, ["seed 1"], ["\x1b["]),
    "a dumb terminal": (
        ("stdout",),
        [SUM, "-n", "2", "--vote", "--seed", "1"],
        {"TERM": "dumb"},
        0,
        ["2 of 2 agree"],
        ["\x1b", "answer 1"],
    ),
    "stderr alone is piped": (
        ("stderr",),
        [PERU, "--seed", "1"],
        {},
        0,
        [LIMA.decode().strip()],
        ["\x1b", "seed 1"],
    ),
    "a vote counts on": (
        (),
        [SUM, "-n", "3", "--vote", "--seed", "1"],
        {},
        0,
        ["answer 1 of 3", "4042", "3 of 3 agree"],
        [],
    ),
}


@pytest.mark.parametrize("name", SCREENS)
def test_ask_on_a_terminal(run: Run, name: str) -> None:
    """The answer is on stdout, all else on stderr, and escape sequences only where somebody
    looks.
    """
    piped, args, env, code, shown, hidden = SCREENS[name]
    with Screen([str(BINARY), "ask", *args], run.env(env), piped=piped) as screen:
        assert screen.leave() == code
        at = 0
        for text in shown:
            at = screen.raw.index(text, at) + len(text)
        assert not [text for text in hidden if text in screen.raw]


def test_first_use_explains_itself_on_a_terminal_once(run: Run, tmp_path: Path) -> None:
    """In three lines at the most; a script sees nothing of it."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    new = Run(tmp_path)
    for first in (True, False):
        with Screen(
            [str(BINARY), "ask", PERU, "--hide-thinking"], new.env(), piped=("stdout",)
        ) as screen:
            assert screen.leave() == 0
            lines = screen.text.splitlines()
            assert len(lines) <= 3
            assert any("first use" in line for line in lines) == first
            assert any("dslocal help" in line for line in lines) == first
