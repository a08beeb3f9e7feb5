"""Proves what a client gets while nothing happens, and what ends when it leaves: with a run that
follows a script.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from typing import Any

import pytest

from dslocal.server import sse
from dslocal.server.sse import EventStreamResponse, StreamFailed, WholeResponse
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.stream_format import EventStreamFormat

Step = float | Exception | str


class ScriptedRun:
    """A run whose events are ``steps``: seconds of silence, texts, errors. ``closed`` says that it
    was ended.
    """

    def __init__(self, *steps: Step) -> None:
        self.steps, self.closed = steps, False
        self.is_given_back = False

    def close(self) -> None:
        self.is_given_back = True

    async def events(self) -> AsyncGenerator[list[Any]]:
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, str):
                    yield [step]
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed = True


class Plain(EventStreamFormat):
    """A reply that passes texts on."""

    def chunks(self, events: Sequence[Any]) -> list[bytes]:
        return [event.encode() for event in events]

    def end(self) -> bytes:
        return b"end;"

    def collect(self, events: list[str]) -> None:
        self.said = events

    def body(self) -> dict[str, Any]:
        return {"said": self.said}


def sent(
    run: ScriptedRun, *, stream: bool = True, leaves_after: float = 60
) -> list[MutableMapping[str, Any]]:
    """The messages of one response to a client that leaves after so many seconds."""
    found: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(leaves_after)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        found.append(message)

    async def respond() -> None:
        streamed: Any = EventStreamResponse
        whole: Any = WholeResponse
        response = streamed(run, Plain()) if stream else whole(run, Plain())
        await response({}, receive, send)

    try:
        asyncio.run(respond())
    finally:
        assert run.closed
    return found


def body(messages: list[MutableMapping[str, Any]]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.05)


def test_silence_is_commented_on() -> None:
    said = body(sent(ScriptedRun(0.18, "a;", "b;")))
    assert said.count(b": keep-alive\n\n") in (2, 3)
    assert said.endswith(b"a;b;end;")


def test_no_comment_without_silence() -> None:
    assert body(sent(ScriptedRun("a;", "b;"))) == b"a;b;end;"


def test_an_error_before_anything_has_a_status_of_its_own() -> None:
    with pytest.raises(ApiError):
        sent(ScriptedRun(ApiError(400, "no")))


def test_an_error_later_is_sent_in_the_stream() -> None:
    with pytest.raises(StreamFailed, match="no"):
        sent(ScriptedRun("a;", ApiError(503, "no", code="stopping")))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("before", [(), ("a;",)])
def test_who_leaves_ends_the_run(stream: bool, before: tuple[str, ...]) -> None:
    with pytest.raises(ConnectionError):
        sent(ScriptedRun(*before, 30.0), stream=stream, leaves_after=0.02)


def test_who_leaves_after_the_end_ends_nothing() -> None:
    assert body(sent(ScriptedRun("a"), stream=False, leaves_after=0)) == b'{"said":["a"]}'
