"""Proves the contract of ``dslocal ask`` in bash: pipes, closed streams, full disks, odd homes."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.cli.ask_contract import BABBLE, BOXED, LIMA, PERU, judge, selected
from support.cli.running import BINARY, Done, Run

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
FEW_SCRIPTS = (
    "no stdout at all",
    "a reader that leaves",
    "a full disk",
    "an empty home",
    "a home that cannot be",
    "a locale without Unicode",
)


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
            " MB are free (free some space",
        )
    return "bash -c 'ulimit -f 64; exec \"$@\"' bash", "File too large"


@pytest.mark.parametrize("name", selected(SCRIPTS, FEW_SCRIPTS))
def test_ask_in_a_shell(run: Run, tmp_path: Path, name: str) -> None:
    script, code, stdout, stderr = SCRIPTS[name]
    if stderr == "{full}":
        stderr = full_home()[1]
    judge(in_bash(run, tmp_path, script), code, stdout, stderr)
