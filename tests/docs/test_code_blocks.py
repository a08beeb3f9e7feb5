"""Run every command line and every Python block of the README, the topics and the site, or require
a title above the block that says why not, such as "needs a download".

They run in a folder that has what the documents speak of: a checkpoint called DeepSeek-R1 (nano),
settings, a schema, a repository with a change. nano stands in for models that would have to be
fetched, and addresses of a running server become those of one that runs.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.docs.command_words import code, own_commands, unknown_in
from support.docs.markdown import ROOT, Block, blocks, documents
from support.waiting import output_of

from dslocal.home.paths import bundled

# Titles of blocks that are not run: what they need, or what they are.
NOT_RUN = {
    "needs a download",
    "needs a GPU",
    "needs a Mac",
    "needs Docker",
    "needs another machine",
    "needs another program",
    "installs",
    "a file of the repository",
    "a line of the repository",
    "a change of the repository",
}
NOT_CODE = {"", "text", "toml", "console", "json", "yaml"}  # console is the tour: tests/e2e
SERVER_ADDRESS = "127.0.0.1:11435"
LIMIT_S = 240
# Exit codes that luck decides, by a part of the command: nano's answer may miss what is asked for.
MAY_END_WITH = {
    "--vote": {0, 5, 6},
    "--schema": {0, 5, 7},
    "--grammar": {0, 5, 7},
    "dslocal ask": {0, 5},
    "dslocal fim": {0, 5},
}
STAND_INS = ("deepseek-r1-distill-qwen-7b", "deepseek-v2-lite-chat")
FILES = {
    "settings.ini": "user = anna\nport = 8080\n",
    "notes.txt": "date = 2026-12-01\n",
    "report.txt": "author = anna\n",
    "letter.txt": "name = anna\n",
    "found.json": '[{"title": "Final", "url": "https://example.org", "content": "Peru won."}]',
    "sum.json": '{"type": "object", "properties": {"result": {"type": "integer"}},'
    ' "required": ["result"]}',
    "person.json": '{"type": "object", "properties": {"name": {"enum": ["anna", "bob"]}},'
    ' "required": ["name"]}',
    "yes.gbnf": 'root ::= "yes" | "no"\n',
    "mine.yaml": '"ffn_.*_exps": Q4_K\n".*": Q8_0\n',
    "area.py": "def area(width, height):\n    pass\n",
}


def all_blocks(language: str) -> list[Block]:
    return [block for file in documents() for block in blocks(file) if block.language == language]


def to_run(language: str) -> list[Block]:
    """The blocks that are run, each text once."""
    found = {block.code: block for block in all_blocks(language) if block.title not in NOT_RUN}
    return list(found.values())


def test_every_block_is_run_or_says_why_not() -> None:
    for file in documents():
        for block in blocks(file):
            assert block.title in NOT_RUN | {""}, f"{block}: {block.title!r} is not a known title"
            assert block.language in NOT_CODE | {"sh", "python"}, str(block)
    assert sum(len(block.command_lines()) for block in to_run("sh")) >= 50
    assert len(to_run("python")) >= 4


@pytest.mark.parametrize("file", documents(), ids=lambda file: file.stem)
def test_every_command_and_option_exists(file: Path) -> None:
    """Also in blocks that are not run, in tables and within sentences."""
    lines = code(file.read_text(encoding="utf-8"))
    found = [part for line in lines for part in own_commands(line)]
    assert [(part, unknown_in(part)) for part in found if unknown_in(part)] == []


def test_fences_are_closed_and_none_is_overlooked() -> None:
    for file in documents():
        text = file.read_text(encoding="utf-8")
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(list(blocks(file))), file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run, nano: Path) -> Path:
    """What the documents speak of."""
    place = tmp_path_factory.mktemp("docs")
    for name, text in FILES.items():
        (place / name).write_text(text, encoding="utf-8")
    shutil.copytree(bundled("nano"), place / "DeepSeek-R1")
    shutil.copytree(bundled("nano"), place / "dslocal" / "nano")  # where a clone has it
    stand_in = place / "stand-in.gguf"
    os.link(nano, stand_in)
    for name in STAND_INS:
        assert run("import", stand_in, "--name", name).returncode == 0
    topic = (ROOT / "dslocal" / "topics" / "templates.md").read_text(encoding="utf-8")
    config = re.findall(r"```toml\n(.*?)```", topic, re.DOTALL)[0]
    (run.home / "config").mkdir()
    (run.home / "config" / "config.toml").write_text(config, encoding="utf-8")
    (place / ".config" / "fish" / "completions").mkdir(parents=True)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], cwd=place, check=True)
    (place / "notes.txt").write_text("date = 2026-12-02\n", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def environment(folder: Path, run: Run) -> dict[str, str]:
    path = f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}"
    # the home of the user is the folder, so that "~" is; dslocal's own is that of the tests
    return run.env({"PATH": path, "HOME": str(folder), "HF_HUB_OFFLINE": "1"})


@pytest.fixture(scope="module")
def server(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The address of a running server."""
    pytest.importorskip("uvicorn")
    with subprocess.Popen(
        [str(BINARY), "serve", "nano", "--port", "0"],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield address_of(process)
        finally:
            process.send_signal(signal.SIGTERM)
            output_of(process, limit_s=LIMIT_S)


def address_of(process: subprocess.Popen[bytes]) -> str:
    """Wait until a server says where it listens."""
    assert process.stdout is not None
    end, said = time.monotonic() + LIMIT_S, b""
    while time.monotonic() < end:
        if select.select([process.stdout], [], [], 1)[0]:
            said += os.read(process.stdout.fileno(), 65536)
            if found := re.search(rb"http://(127\.0\.0\.1:\d+)", said):
                return found[1].decode()
        assert process.poll() is None, said
    raise AssertionError(said)


def serves(line: str) -> bool:
    return line.startswith("dslocal serve")


def serve_and_stop(line: str, environment: dict[str, str], folder: Path) -> None:
    """Run a line that serves until it is interrupted."""
    command = f"exec {line.partition('#')[0]} --port 0"
    with subprocess.Popen(
        ["bash", "-c", command],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        address_of(process)
        process.send_signal(signal.SIGTERM)
        output_of(process, limit_s=LIMIT_S)


@pytest.mark.slow
@pytest.mark.parametrize("block", to_run("sh"), ids=str)
def test_command_lines(
    block: Block,
    folder: Path,
    environment: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    for written in block.command_lines():
        line = written
        if SERVER_ADDRESS in line:
            line = line.replace(SERVER_ADDRESS, request.getfixturevalue("server"))
        line = re.sub(r"^curl ", "curl --fail-with-body ", line)
        if serves(line):
            serve_and_stop(line, environment, folder)
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        codes = next((codes for part, codes in MAY_END_WITH.items() if part in line), {0})
        assert done.returncode in codes, (line, done.returncode, done.stderr.decode())


@pytest.mark.parametrize("block", to_run("python"), ids=str)
def test_python(
    block: Block,
    folder: Path,
    environment: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    code = block.code
    if SERVER_ADDRESS in code:
        pytest.importorskip("openai")
        code = code.replace(SERVER_ADDRESS, request.getfixturevalue("server"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it prints nothing"
