"""Proves that a model on this machine needs no network: no name is looked up, and only loopback is
connected to.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run, clean_environment, python
from support.engines.fake_engine import FakeEngine, Tokens
from support.hub.stream_trials import small_checkpoint
from support.terminal.screen import READY, Screen
from support.waiting import wait_until

from dslocal.engine import LlamaModel

# seen by every Python that starts with it on its path, from its first import on; it cannot be taken
# off again
GUARD = """
import os, sys

LOOKUPS = (
    "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"
)

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"):
            return
    elif event not in LOOKUPS:
        return
    elif event == "socket.getaddrinfo" and arguments[0] in (None, "127.0.0.1", "::1", "localhost"):
        return
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}\\n")
    raise OSError("the guard")

sys.addaudithook(watch)
open(os.environ["GUARD_LOG"], "a").close()
"""
FAR = "192.0.2.1"  # for documentation: nobody is there


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return tmp_path / "log"


def guarded(log: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"PYTHONPATH": str(log.parent / "guard"), "GUARD_LOG": str(log), **(more or {})}


@functools.cache
def without_network() -> tuple[str, ...]:
    """A command in front of another that takes all networks away, where that is allowed; nothing
    where not.
    """
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "--net", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        return ()
    return unshare, "--net"


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        (f"import socket; socket.create_connection(('{FAR}', 80))", f"socket.getaddrinfo {FAR}"),
        (f"import socket; socket.socket().connect(('{FAR}', 80))", f"socket.connect ('{FAR}', 80)"),
        (
            f"import socket; socket.socket().connect_ex(('{FAR}', 80))",
            f"socket.connect ('{FAR}', 80)",
        ),
        (f"import _socket; _socket.socket(2, 2).sendto(b'x', ('{FAR}', 53))", "socket.sendto "),
        (
            "import urllib.request; urllib.request.urlopen('http://hub.invalid')",
            "socket.getaddrinfo hub.invalid",
        ),
    ],
)
def test_the_guard_sees_what_it_should(log: Path, program: str, seen: str) -> None:
    done = python(program, env=guarded(log))
    assert (done.returncode, done.stderr.count("the guard") > 0) == (1, True)
    assert log.read_text(encoding="utf-8").startswith(seen)


def test_the_guard_sees_what_dslocal_does(log: Path, tmp_path: Path) -> None:
    """One that asks the hub, to show that nothing is hidden from the guard."""
    env = clean_environment() | {
        "DSLOCAL_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": f"http://{FAR}",
        **guarded(log),
    }
    with subprocess.Popen(
        [BINARY, "convert", "test/x"], env=env, cwd=tmp_path, text=True, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: log.exists() and log.read_text(encoding="utf-8"), process)
        process.kill()
    assert log.read_text(encoding="utf-8").startswith(f"socket.getaddrinfo {FAR}\n")


LOCAL = {
    "ask": ["ask", "-m", "nano", "capital of peru"],
    "ask, one's own file": ["ask", "-m", "{nano}", "capital of peru"],
    "convert": ["convert", "{folder}", "-o", "{out}", "--verify"],
    "show": ["show", "nano"],
    "fit": ["fit", "nano"],
    "fit a folder": ["fit", "{folder}"],
    "models": ["models"],
    "doctor": ["doctor"],
    "help": ["help", "privacy"],
    "templates": ["templates"],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("folder"))


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_here_needs_no_network(
    log: Path, run: Run, nano: Path, folder: Path, tmp_path: Path, name: str
) -> None:
    arguments = [
        part.format(nano=nano, folder=folder, out=tmp_path / "out.gguf") for part in LOCAL[name]
    ]
    offline = {"HF_HUB_OFFLINE": "1"} if name in ("ask", "convert", "fit") else {}
    env = run.env(guarded(log, offline))
    done = subprocess.run(
        [*without_network(), str(BINARY), *arguments],
        env=env,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0), done.stderr
    assert log.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("way", ["option", "variable", "config"])
def test_an_engine_is_the_only_one_that_is_connected_to(
    log: Path, run: Run, nano: Path, tmp_path: Path, way: str
) -> None:
    """The guard lets loopback through; what it would forbid, such as a proxy, is not even tried."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    proxies = {"HTTP_PROXY": f"http://{FAR}:1", "HTTPS_PROXY": f"http://{FAR}:1"}
    with LlamaModel(nano, vocab_only=True) as vocabulary, FakeEngine(vocabulary) as engine:
        engine.replies = [Tokens([vocabulary.special_id("</think>") or 0, 43, 1])]
        options = ["--engine", engine.url] if way == "option" else []
        variables = {"DSLOCAL_ENGINE": engine.url} if way == "variable" else {}
        if way == "config":
            (tmp_path / "config").mkdir()
            (tmp_path / "config" / "config.toml").write_text(f'engine = "{engine.url}"\n')
        done = subprocess.run(
            [str(BINARY), "ask", *options, "capital of peru"],
            env=Run(tmp_path).env(guarded(log, proxies | variables)),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(engine.generated) == 1
    assert log.read_text(encoding="utf-8") == ""


def test_another_host_is_the_only_one_that_is_looked_for(log: Path, run: Run) -> None:
    done = run("ask", "--engine", f"http://{FAR}:8000", "hello", env=guarded(log))
    assert done.returncode == 1
    asked = log.read_text(encoding="utf-8").splitlines()
    assert asked
    assert {line.rpartition(" ")[2] for line in asked} == {FAR}


def test_a_conversation_needs_no_network(log: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(run.home / "cache")
    with Screen([*without_network(), str(BINARY), "chat"], Run(tmp_path).env(guarded(log))) as chat:
        chat.wait_for(READY)
        chat.press("hello\r")
        chat.wait_for(READY)
        chat.press("\x04")
        assert chat.leave() == 0
    assert log.read_text(encoding="utf-8") == ""
