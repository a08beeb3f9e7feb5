"""Proves that a slot whose client left in the midst of a prompt or an answer serves the next
request of the conversation, with DeepSeek-V4, whose KV cache cannot be cut: it goes back to a
checkpoint, and the answer is that of a server which heard nothing else.
"""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chat.v4_chat import write_chat_v4
from support.server.serving import Serving, serving
from support.waiting import wait_until

CHAT = "/v1/chat/completions"
OPTIONS = ("--parallel", "1", "--ctx", "4096", "--disk-cache", "0")
BUSY, CUT = "dslocal_answers_running", "dslocal_answers_cut_short_total"
STREAM_LINES = 24  # of headers and the first events
LONG = 3000  # tokens of an answer that nobody waits for
SYSTEM = "Rule: name each number with its neighbours. " * 30
FIRST = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "Tell me about one."},
]
FOLLOW_UP = [
    *FIRST,
    {"role": "assistant", "content": "One is the least."},
    {"role": "user", "content": "And about two?"},
]


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_chat_v4(tmp_path_factory.mktemp("v4") / "v4.gguf"))


@pytest.fixture(scope="module")
def served_v4(v4: str, new_home: Callable[[str], Path]) -> Iterator[Serving]:
    with serving(new_home("served_v4"), *OPTIONS, models=(v4,)) as server:
        yield server


def answer_to(server: Serving, messages: list[dict[str, str]]) -> tuple[str, int]:
    """Return a short answer, and how many tokens of the prompt were in the slot already."""
    reply = server.post(
        CHAT,
        {
            "messages": messages,
            "temperature": 0,
            "max_tokens": 24,
            "thinking": {"type": "disabled"},
        },
    )
    assert reply.status_code == 200, reply.text
    found = reply.json()
    cached: int = found["usage"]["prompt_tokens_details"]["cached_tokens"]
    return found["choices"][0]["message"]["content"], cached


@pytest.fixture(scope="module")
def expected(v4: str, new_home: Callable[[str], Path]) -> str:
    """The answer to the follow-up of a server that heard nothing before it."""
    with serving(new_home("fresh_v4"), *OPTIONS, models=(v4,)) as fresh:
        answer, cached = answer_to(fresh, FOLLOW_UP)
    assert cached == 0
    return answer


def counted(server: Serving, name: str) -> float:
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", server.http.get("/metrics").text, re.M)
    assert found, name
    return float(found[1])


def leave(server: Serving, path: str, body: dict[str, Any]) -> None:
    """Send a request and close the connection while the server is at work for it.

    An answer that ended before is requested again.
    """
    cut = counted(server, CUT)

    def has_left_in_time() -> bool:
        _send_and_close(server, path, body)
        wait_until(lambda: counted(server, BUSY) == 0)
        return counted(server, CUT) > cut

    wait_until(has_left_in_time)


def _send_and_close(server: Serving, path: str, body: dict[str, Any]) -> None:
    """Send a request, and close the connection: of a stream when tokens have come, otherwise when
    the server is at work.
    """
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        received = b""
        while body["stream"] and received.count(b"\n") < STREAM_LINES:
            part = connection.recv(1 << 12)
            if not part:
                return
            received += part
        while not body["stream"] and counted(server, BUSY) == 0:
            if select.select([connection], [], [], 0)[0]:
                return


TALK = [message for message in FOLLOW_UP if message["role"] != "system"]
LEFT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": FOLLOW_UP, "max_tokens": LONG}),
    ("/v1/messages", {"system": SYSTEM, "messages": TALK, "max_tokens": LONG}),
    ("/api/chat", {"model": "v4", "messages": FOLLOW_UP, "options": {"num_predict": LONG}}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("path", "body"), LEFT, ids=[path for path, _ in LEFT])
def test_who_leaves_a_slot_of_v4_leaves_it_usable(
    served_v4: Serving, expected: str, path: str, body: dict[str, Any], stream: bool
) -> None:
    answer_to(served_v4, FIRST)
    leave(served_v4, path, {**body, "stream": stream})
    answer, cached = answer_to(served_v4, FOLLOW_UP)
    assert answer == expected
    assert cached > 500, "there is a checkpoint behind the system prompt"


def test_who_leaves_soon_after_a_long_prompt_began(served_v4: Serving, expected: str) -> None:
    """The prompt begins as the follow-up does, and its end is long."""
    longer = [*FOLLOW_UP[:-1], {"role": "user", "content": "And about all others? " * 60}]
    answer_to(served_v4, FIRST)
    leave(served_v4, CHAT, {"messages": longer, "max_tokens": 500, "stream": False})
    answer, cached = answer_to(served_v4, FOLLOW_UP)
    assert answer == expected
    assert cached > 500
