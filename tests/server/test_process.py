"""Proves how a server begins and ends: found by others, killed without damage, stopped with streams
finished or ended with an error.
"""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.cli.running import Run, python
from support.server.serving import SUM, Serving, serving
from support.waiting import wait_until

from dslocal.server import discovery

RESTART_S = 2.0


def endless(server: Serving) -> dict[str, Any]:
    """A request whose answer only its limit ends."""
    model_ends = server.post("/v1/completions", {"prompt": "a", "max_tokens": 1, "temperature": 0})
    assert model_ends.status_code == 200
    return {
        "prompt": "1 2 3 4 5 6 7 8",
        "stream": True,
        "max_tokens": 3000,
        "temperature": 0,
        "logit_bias": {"<｜end▁of▁sentence｜>": -100},
    }


def read_slowly(
    server: Serving,
    body: dict[str, Any],
    found: list[str],
    started: threading.Event,
    path: str = "/v1/completions",
) -> None:
    """Reads a stream into ``found``, which ends with why it ended."""
    try:
        with (
            httpx2.Client(trust_env=False, timeout=60) as http,
            http.stream("POST", f"http://127.0.0.1:{server.port}{path}", json=body) as answer,
        ):
            for line in answer.iter_lines():
                if line:
                    found.append(line)
                    started.set()
        found.append("ended")
    except httpx2.HTTPError as e:
        found.append(type(e).__name__)
    started.set()


def streams(server: Serving, count: int) -> tuple[list[list[str]], list[threading.Thread]]:
    """So many endless streams, all of them started."""
    body = endless(server)
    found = []
    threads = []
    started = []
    for _ in range(count):
        found.append(list[str]())
        started.append(threading.Event())
        threads.append(
            threading.Thread(target=read_slowly, args=(server, body, found[-1], started[-1]))
        )
        threads[-1].start()
    for event in started:
        assert event.wait(60)
    return found, threads


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "servers" not in file.parts
    }


def test_killed_in_the_midst_of_streams(home: Path, nano: Path) -> None:
    with serving(home, "--parallel", "3", "--ctx", "4096", "--quiet") as server:
        before = contents(home)
        said, threads = streams(server, 3)
        server.kill()
        for thread in threads:
            thread.join(60)
        assert all(lines[-1] != "ended" and "data: [DONE]" not in lines for lines in said), [
            lines[-1] for lines in said
        ]
        server.wait_for_log("killed")
    assert contents(home) == before
    with serving(home, "--parallel", "3", "--ctx", "4096", "--quiet") as again:
        assert "88" in again.chat()["choices"][0]["message"]["content"]
        ports = [found.port for found in discovery.running_servers()]
        assert again.port in ports
        assert server.port not in ports, "the note of the one that was killed is gone"


@pytest.mark.timed
def test_it_starts_at_once(home: Path, nano: Path) -> None:
    """Exact figures are tests/benchmarks/server_restart.py's."""
    with serving(home, "--parallel", "3", "--ctx", "1024", "--quiet") as server:
        assert server.started_in_s < RESTART_S


def test_stopped_with_patience_streams_finish(home: Path, nano: Path) -> None:
    with serving(home, "--parallel", "2", "--ctx", "4096", "--grace", "60", "--quiet") as server:
        (lines,), (thread,) = streams(server, 1)
        assert server.stop() == 0
        thread.join(60)
        assert lines[-2:] == ["data: [DONE]", "ended"]


def test_stopped_without_patience_streams_end_with_an_error(home: Path, nano: Path) -> None:
    with serving(home, "--parallel", "2", "--ctx", "4096", "--grace", "0", "--quiet") as server:
        (lines,), (thread,) = streams(server, 1)
        assert server.stop() == 0
        thread.join(60)
        assert json.loads(lines[-2].removeprefix("data: "))["error"]["code"] == "stopping"
        assert "data: [DONE]" not in lines
        assert server.port not in [found.port for found in discovery.running_servers()]


def test_who_leaves_is_not_waited_for(home: Path, nano: Path) -> None:
    with serving(home, "--parallel", "1", "--ctx", "4096", "--queue", "1") as server:
        body = json.dumps({**endless(server), "stream": False}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length:"
            f" {len(body)}\r\n\r\n"
        ).encode()

        def health() -> dict[str, Any]:
            found: dict[str, Any] = server.http.get("/health").json()
            return found

        with (
            socket.create_connection(("127.0.0.1", server.port)) as first,
            socket.create_connection(("127.0.0.1", server.port)) as second,
        ):
            first.sendall(head + body)
            wait_until(lambda: health()["running"] == 1)
            second.sendall(head + body)
            wait_until(lambda: health()["waiting"] == 1)
            third = server.post(
                "/v1/chat/completions", {"messages": [{"role": "user", "content": SUM}]}
            )
            assert (third.status_code, third.json()["error"]["code"]) == (429, "queue_full")
            assert int(third.headers["retry-after"]) > 0
        wait_until(lambda: health()["running"] == health()["waiting"] == 0)
        assert server.chat()["choices"][0]["finish_reason"] == "stop"
        wait_until(
            lambda: "dslocal_answers_cut_short_total 1.0" in server.http.get("/metrics").text
        )
        server.wait_for_log(" 499 ")


def test_a_server_is_found_while_it_lives(home: Path, nano: Path) -> None:
    with serving(home, "--parallel", "1", "--ctx", "1024") as server:
        (found,) = (each for each in discovery.running_servers() if each.port == server.port)
        assert (found.name, found.family, found.n_ctx, found.pid) == (
            "nano",
            "nano",
            1024,
            server.worker,
        )
        assert Path(found.path) == nano.resolve()
        note = home / "state" / "servers" / f"{found.pid}-{found.fingerprint[:12]}.json"
        assert note.stat().st_mode & 0o777 == 0o600
        assert found.token not in server.log
        server.stop()
        assert not note.exists()


def test_a_note_that_others_could_have_written_is_not_believed(home: Path) -> None:
    folder = home / "state" / "servers"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "1.json"
    note.write_text("{}")
    note.chmod(0o666)
    assert all(each.pid != 1 for each in discovery.running_servers())
    note.unlink()


@pytest.mark.parametrize("lacking", ["starlette", "uvicorn", "prometheus_client"])
def test_without_the_extra(run: Run, lacking: str) -> None:
    program = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def lacks(cls, name, path=None, target=None):
    return None if name == "{lacking}" else find(name, path, target)
PathFinder.find_spec = classmethod(lacks)
sys.argv = ["dslocal", "serve", "nano"]
from dslocal.cli.main import main
main()
"""
    done = python(program, env={"DSLOCAL_HOME": str(run.home)})
    assert (done.returncode, done.stderr) == (
        1,
        f"dslocal: dslocal serve needs {lacking} (pip install 'dslocal[server]')\n",
    )
