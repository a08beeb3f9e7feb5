"""Proves that ``dslocal ask`` uses a running server that holds its model, to the same words and
figures, and does without it otherwise.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run
from support.server.serving import Serving, serving
from support.waiting import wait_until

from dslocal import output
from dslocal.gguf.header import fingerprint, read_header
from dslocal.server.discovery import RunningServer, announced, running_servers, short_metadata
from dslocal.server.wire.ask.turn_json import turn_as_json
from dslocal.types import FinishReason

ROUTE = "POST /dslocal/ask 200"
SCHEMA = (
    '{"type": "object", "properties": {"r": {"type": "integer"}}, "required": ["r"],'
    ' "additionalProperties": false}'
)


@pytest.fixture(scope="module")
def own(home: Path, nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A home of its own, with nano converted."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "cache").symlink_to(home / "cache")
    (folder / "schema.json").write_text(SCHEMA)
    (folder / "grammar.gbnf").write_text('root ::= "yes" | "no"')
    return Run(folder)


@pytest.fixture(scope="module")
def server(own: Run) -> Iterator[Serving]:
    with serving(own.home, "--parallel", "2") as found:
        yield found


def uses(server: Serving) -> int:
    return server.log.count(ROUTE)


def wait_for_use(server: Serving, before: int) -> None:
    """Wait until more than ``before`` answers are in the log, which is after they are sent."""
    wait_until(lambda: uses(server) > before)


def without(said: Any, *names: str) -> Any:
    if isinstance(said, dict):
        return {key: without(value, *names) for key, value in said.items() if key not in names}
    return [without(value, *names) for value in said] if isinstance(said, list) else said


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (["--seed", "5", "What is 47 × 86?"], 1),
        (["--seed", "5", "--temperature", "1.3", "--max-tokens", "30", "Tell me a joke"], 1),
        (
            [
                "--seed",
                "6",
                "-s",
                "Be brief",
                "--stop",
                "Lima",
                "--top-k",
                "20",
                "--repeat-penalty",
                "1.1",
                "capital of peru",
            ],
            1,
        ),
        (["--seed", "7", "--no-think", "--logprobs", "2", "hello"], 1),
        (["--seed", "8", "--schema", "schema.json", "What is 3 + 4?"], 1),
        (["--seed", "9", "--think-budget", "12", "What is 61 × 29?"], 1),
        (["--seed", "3", "-n", "3", "--temperature", "1.2", "What is 12 + 30?"], 3),
    ],
)
def test_the_same_in_json(own: Run, server: Serving, options: list[str], answers: int) -> None:
    before = uses(server)
    warm, cold = own("ask", "--json", *options), own("ask", "--json", "--cold", *options)
    wait_for_use(server, before + answers - 1)
    assert uses(server) - before == answers
    assert (warm.returncode, warm.stderr) == (cold.returncode, cold.stderr)
    found = json.loads(warm.stdout)
    assert found["timings"]["load_s"] == 0
    differing = (
        ("timings", "cached_tokens") if answers > 1 else ("timings",)
    )  # which place is free first is the server's matter
    assert without(found, *differing) == without(json.loads(cold.stdout), *differing)


def test_the_same_on_stdout_and_stderr(own: Run, server: Serving) -> None:
    """Proves it for text as it comes, and for a vote."""
    for options in (["--show-thinking"], ["-n", "4", "--vote"]):
        before = uses(server)
        warm, cold = (
            own("ask", *options, "--seed", "4", *more, "What is 31 + 57?")
            for more in ([], ["--cold"])
        )
        wait_for_use(server, before)
        assert warm.stdout == cold.stdout != b""
        assert (
            warm.stderr.splitlines()[:-1] == cold.stderr.splitlines()[:-1]
        )  # the last line has the speed, or the agreement
        assert (warm.returncode, cold.returncode) == (0, 0)


@pytest.mark.parametrize(
    "options",
    [
        ["--cold"],
        ["--ctx", "1024"],
        ["--kv", "q8_0"],
        ["--mtp", "off"],
        ["--n-gpu-layers", "0"],
        ["--grammar", "grammar.gbnf"],
    ],
)
def test_what_it_cannot_know_is_done_here(own: Run, server: Serving, options: list[str]) -> None:
    before = uses(server)
    assert own("ask", *options, "--max-tokens", "60", "hello").returncode in (0, 5)
    assert uses(server) == before


@contextlib.contextmanager
def impostor(own: Run, nano: Path, *replies: bytes) -> Iterator[None]:
    """A server that holds nano by its note, and sends ``replies``, one for each connection."""

    def reply() -> None:
        for sent in replies:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(sent)

    header = read_header(nano)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = ("127.0.0.1", listener.getsockname()[1], "nano", str(nano.resolve()))
        note = RunningServer(
            0,
            *place,
            fingerprint(nano),
            "nano",
            4096,
            "F16",
            "t",
            short_metadata(header),
            header.data_start,
        )
        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        with announced(note):
            assert note.port in {each.port for each in running_servers()}
            yield
        thread.join(timeout=60)
        assert not thread.is_alive(), "it was not asked"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
NOT_NOW = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"
PART = b'data: {"answer": "Hello", "sure": true}\n\n'
TURN = (
    b"data: %s\n\n"
    % json.dumps(
        {"turn": turn_as_json(output.Turn(1, text="Hello", finish_reason=FinishReason.STOP))}
    ).encode()
)
REPLIES: dict[
    str, tuple[bytes, bool]
] = {  # what comes, and whether the model is loaded here after all
    "nothing": (b"", True),
    "no HTTP": (b"go away\r\n\r\n", True),
    "busy": (NOT_NOW, True),
    "no events": (HEAD + b"data: 7\n\n", True),
    "an error": (HEAD + b'data: {"error": {"message": "no"}}\n\n', True),
    "no turn": (HEAD + b"data: [DONE]\n\n", True),
    "an invalid turn": (HEAD + b'data: {"turn": {"seed": "x"}}\n\n', True),
    "no object as turn": (HEAD + b'data: {"turn": [1]}\n\n', True),
    "a number without end": (HEAD + TURN.replace(b'"seed": 0', b'"seed": Infinity'), True),
    "no list of ids": (HEAD + TURN.replace(b'"ids": []', b'"ids": 7'), True),
    "half a turn": (HEAD + TURN[: len(TURN) // 2], True),
    "nested without end": (HEAD + b"data: " + b"[" * 100_000 + b"\n\n", True),
    "no text": (HEAD + b"data: \xff\xfe\n\n", True),
    "a page": (b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", True),
    "the end in mid-answer": (HEAD + PART, False),
    "no events in mid-answer": (HEAD + PART + b"data: 7\n\n", False),
    "an invalid turn in mid-answer": (HEAD + PART + b'data: {"turn": null}\n\n', False),
    "nested in mid-answer": (HEAD + PART + b"data: " + b"[" * 100_000 + b"\n\n", False),
}


GONE = (
    b"dslocal: the running dslocal serve ended before its answer was complete"
    b" (add --cold to load the model in this process)\n"
)


@pytest.mark.parametrize("wrong", REPLIES)
def test_a_server_that_fails(
    own: Run, nano: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that before the first word the answer comes from here, and that a half of one is no
    answer.
    """
    monkeypatch.setenv("DSLOCAL_HOME", str(own.home))
    sent, falls_back = REPLIES[wrong]
    with impostor(own, nano, sent):
        done = own("ask", "--seed", "1", "What is 31 + 57?")
    if falls_back:
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"88" in done.stdout
    else:
        assert (done.returncode, done.stdout) == (1, b"Hello\n")
        assert done.stderr == GONE


def test_a_server_that_declines_the_second_answer(
    own: Run, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the first, which is printed, is not drawn and printed again."""
    monkeypatch.setenv("DSLOCAL_HOME", str(own.home))
    with impostor(own, nano, HEAD + PART + TURN + b"data: [DONE]\n\n", NOT_NOW):
        done = own("ask", "-n", "2", "--seed", "1", "What is 31 + 57?")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"Hello\n---\n", GONE)
