"""Proves that no request whose length is in dispute lets what follows pass as another request, that
a lack of descriptors is said once, and that reading hostile output stays linear.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.server.serving import Serving, serving

from dslocal.output.reasoning import MAX_HELD_SPACE, ReasoningParser, Text
from dslocal.output.tool_calls import MAX_HELD, TOKENS, ToolCallArguments, ToolCallParser
from dslocal.output.turn import Turn
from dslocal.prompts.families.tools import CALL_BEGIN, SEPARATOR
from dslocal.server.process import DescriptorWatch

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SECOND = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(new_home: Callable[[str], Path]) -> Iterator[Serving]:
    with serving(new_home("framing"), "--parallel", "1", "--ctx", "1024") as started:
        yield started


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nContent-Length: %d" % len(CHUNKED), CHUNKED),
        (b"Content-Length: 0\r\nTransfer-Encoding: chunked", CHUNKED),
        (b"Content-Length: 4\r\nContent-Length: %d" % len(BODY), BODY),
        (b"Content-Length: 4, %d" % len(BODY), BODY),
        (b"Content-Length : %d" % len(BODY), BODY),
        (b"Content-Length: +%d" % len(BODY), BODY),
        (b"Content-Length: 0x%x" % len(BODY), BODY),
        (b"Content-Length: -1", BODY),
        (b"Content-Length: 1 2", BODY),
        (b"Transfer-Encoding: identity", BODY),
        (b"Transfer-Encoding: xchunked", CHUNKED),
        (b"Transfer-Encoding: chunked, identity", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNKED),
        (b"Transfer-Encoding: chunked", b"-5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"0x5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5\r\nhelloXX0\r\n\r\n"),
        (b"X: a\r\n b: c\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", CHUNKED),
    ],
)
def test_a_length_in_dispute_ends_the_connection(
    server: Serving, headers: bytes, body: bytes
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + b"\r\n\r\n"
    answer = server.raw(head + body + SECOND, timeout=10)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert b"HTTP/1.1 200" not in answer
    assert b'"object":"list"' not in answer


def test_two_plain_requests_on_one_connection_are_answered(server: Serving) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
    answer = server.raw(head % len(BODY) + BODY + SECOND)
    assert answer.count(b"HTTP/1.1 200") == 2


def test_a_lack_of_descriptors_is_said_once() -> None:
    said: list[str] = []
    loop = asyncio.new_event_loop()
    try:
        watch = DescriptorWatch(said.append)
        for number in (errno.EMFILE, errno.ENFILE, errno.EMFILE) * 100:
            watch(loop, {"message": "accept", "exception": OSError(number, "Too many open files")})
    finally:
        loop.close()
    assert len(said) == 1
    assert "ulimit -n" in said[0]


@pytest.mark.parametrize("space", [" ", "\n", "\t "])
def test_white_space_without_end_is_held_back_up_to_a_bound(space: str) -> None:
    parser = ReasoningParser(None)
    shown = "".join(event.text for event in parser.feed(1, "a") if isinstance(event, Text))
    for _ in range(3 * MAX_HELD_SPACE):
        shown += "".join(each.text for each in parser.feed(1, space) if isinstance(each, Text))
        assert len(parser.held_space) <= MAX_HELD_SPACE + len(space)
    assert shown == "a" + space * ((len(shown) - 1) // len(space))


def test_the_arguments_of_a_call_are_held_back_up_to_a_bound() -> None:
    ids = {spelling: number for number, spelling in enumerate(TOKENS)}
    parser = ToolCallParser(ids, typed=True)
    head = [(ids[CALL_BEGIN.token], ""), (99, "function"), (ids[SEPARATOR.token], "")]
    for token, text in [*head, (99, "f\n```json\n{")]:
        list(parser.feed(token, text))
    sent = 0
    for number in range(1, 3 * MAX_HELD):
        for event in parser.feed(99, " "):
            assert isinstance(event, ToolCallArguments)
            sent += len(event.text)
        assert number - sent <= MAX_HELD + 2


def test_a_turn_joins_what_it_reads_once() -> None:
    turn = Turn(prompt_tokens=0)
    for number in range(1000):
        turn.add(Text(str(number)))
    assert turn.text == "".join(map(str, range(1000)))
    turn.add(Text("!"))
    assert turn.text.endswith("999!")
    assert Turn(prompt_tokens=0).text == ""
