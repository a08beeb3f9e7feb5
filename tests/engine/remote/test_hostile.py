"""An engine that means harm, or is none: bounded time and memory, an error, never a traceback."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.engines.fake_engine import N_CTX, FakeEngine, Raw, Status, Tokens, events_of

from dslocal.chat.session import Session
from dslocal.engine import LlamaModel
from dslocal.engine.remote import EngineConnection, engine_address, event_stream, find_engine
from dslocal.engine.remote import connection as connection_module
from dslocal.errors import DslocalError, NotFoundError, RemoteEngineError, UsageError
from dslocal.prompts import FAMILIES

from .conftest import KINDS, OpenContext

NANO = FAMILIES["nano"]
ESCAPE = "\x1b[2J\x07\u202e"


def event(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def vllm_event(**choice: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": "x", "token_ids": [5], **choice}]})


def ask(context: Any, **more: Any) -> Session:
    session = Session(context, NANO, NANO.defaults, **more)
    list(session.stream("1 + 1?", seed=5))
    return session


BODIES: dict[str, dict[str, bytes]] = {
    "not JSON": dict.fromkeys(KINDS, b"data: {oops\n\n"),
    "deeper than any stack": dict.fromkeys(KINDS, b"data: " + b"[" * 100_000 + b"\n\n"),
    "a list": dict.fromkeys(KINDS, event([1])),
    "nothing in it": dict.fromkeys(KINDS, event({})),
    "ids that are texts": {
        "vllm": vllm_event(token_ids=["5"]),
        "sglang": event({"output_ids": ["5"], "meta_info": {"completion_tokens": 1}}),
        "llamacpp": event({"tokens": ["5"], "tokens_predicted": 1, "stop": False}),
    },
    "ids that are negative": {
        "vllm": vllm_event(token_ids=[-1]),
        "sglang": event({"output_ids": [-1], "meta_info": {"completion_tokens": 1}}),
        "llamacpp": event({"tokens": [-1], "tokens_predicted": 1, "stop": False}),
    },
    "ids that no vocabulary has": {
        "vllm": vllm_event(token_ids=[1 << 20]),
        "sglang": event({"output_ids": [1 << 20], "meta_info": {"completion_tokens": 1}}),
        "llamacpp": event({"tokens": [1 << 20], "tokens_predicted": 1, "stop": False}),
    },
    "truth as an id": {
        "vllm": vllm_event(token_ids=[True]),
        "sglang": event({"output_ids": [True], "meta_info": {"completion_tokens": 1}}),
        "llamacpp": event({"tokens": [True], "tokens_predicted": 1, "stop": False}),
    },
    "an end of its own": {
        "vllm": vllm_event(finish_reason=ESCAPE),
        "sglang": event(
            {"output_ids": [5], "meta_info": {"completion_tokens": 1, "finish_reason": ESCAPE}}
        ),
        "llamacpp": event({"stop": True, "stop_type": ESCAPE}),
    },
    "more tokens than it sends": {
        "vllm": vllm_event(token_ids={"5": 5}),
        "sglang": event({"output_ids": [5], "meta_info": {"completion_tokens": 7}}),
        "llamacpp": event({"tokens": {"5": 5}, "tokens_predicted": 1, "stop": False}),
    },
    "an error that is no text": dict.fromkeys(KINDS, event({"error": [[]]})),
    "an error with escapes": dict.fromkeys(KINDS, event({"error": {"message": ESCAPE * 1000}})),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_event(engine: FakeEngine, open_context: OpenContext, name: str) -> None:
    engine.replies = [Raw([BODIES[name][engine.kind]])]
    with pytest.raises(RemoteEngineError) as caught:
        ask(open_context(engine))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


LOGPROBS: dict[str, Any] = {
    "none": None,
    "of another length": {"token_logprobs": [], "top_logprobs": []},
    "that are texts": {"token_logprobs": ["-1"], "top_logprobs": [None]},
    "without ids": {"token_logprobs": [-1.0], "top_logprobs": [{"word": -1.0}]},
}


@pytest.mark.parametrize("name", LOGPROBS)
def test_logprobs(vllm: FakeEngine, open_context: OpenContext, name: str) -> None:
    vllm.replies = [Raw([vllm_event(logprobs=LOGPROBS[name])])]
    with pytest.raises(RemoteEngineError, match="sends"):
        ask(open_context(vllm), top_logprobs=1)


def test_numbers_beyond_all_bounds(vllm: FakeEngine, open_context: OpenContext) -> None:
    """They become the least logprob, so that what is printed is JSON."""
    sent = b'{"token_logprobs": [-1e999], "top_logprobs": [{"token_id:5": NaN}]}'
    chunk = b'data: {"choices": [{"token_ids": [5], "logprobs": ' + sent + b"}]}\n\n"
    vllm.replies = [Raw([chunk, vllm_event(token_ids=[1], logprobs=None, finish_reason="stop")])]
    context = open_context(vllm)
    session = Session(context, NANO, NANO.defaults, top_logprobs=1)
    with pytest.raises(RemoteEngineError):
        list(session.stream("1 + 1?", seed=5))
    assert session.turn is not None
    assert [entry.logprob for entry in session.turn.logprobs] == [-9999.0]
    assert session.turn.logprobs[0].top == ((5, -9999.0),)


BOMB = gzip.compress(b" " * (64 << 20), 1)
COMPRESSED = (("Content-Encoding", "gzip"),)


def test_a_compressed_reply_is_not_unpacked(vllm: FakeEngine) -> None:
    """Proves it by what is allocated: the reply has 64 MiB in 300 KB."""
    vllm.replies = [Status(200, BOMB, COMPRESSED)]
    with EngineConnection(engine_address(vllm.url)) as connection:
        tracemalloc.start()
        try:
            with pytest.raises(RemoteEngineError, match="sends a compressed reply, unasked"):
                connection.post("/v1/completions", {})
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("code", [200, 500])
def test_a_compressed_answer_or_error(
    vllm: FakeEngine, open_context: OpenContext, code: int
) -> None:
    vllm.replies = [Status(code, BOMB, COMPRESSED)]
    expected = "sends a compressed reply" if code == 200 else "the engine failed"
    with pytest.raises(RemoteEngineError, match=expected):
        ask(open_context(vllm))


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["a body", "interim responses"],
)
def test_a_reply_that_never_ends(head: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, but all of them never do."""
    monkeypatch.setattr(connection_module, "WHOLE_REPLY_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with server.accept()[0] as client, suppress(OSError):
                client.recv(1 << 16)
                client.sendall(head)
                while True:
                    client.sendall(drip)
                    time.sleep(0.01)

        threading.Thread(target=run, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with (
            EngineConnection(engine_address(url)) as connection,
            pytest.raises(RemoteEngineError, match="its reply was not whole after"),
        ):
            find_engine(connection)


def test_a_line_without_end(
    vllm: FakeEngine, open_context: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_LINE", 1 << 16)
    vllm.replies = [Raw(lambda: itertools.repeat(b"x" * 4096))]
    with pytest.raises(RemoteEngineError, match="sends a line of more than 65,536 bytes"):
        ask(open_context(vllm))


def test_comments_without_end(
    vllm: FakeEngine, open_context: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_IDLE", 1 << 16)
    vllm.replies = [Raw(lambda: itertools.repeat(b": x\n" * 1024))]
    with pytest.raises(RemoteEngineError, match="sends 65,536 bytes without an event"):
        ask(open_context(vllm))


@pytest.mark.parametrize(
    ("limit", "piece"), [("MAX_LINE_S", b"x"), ("MAX_IDLE_S", b": x\n")], ids=["line", "comments"]
)
def test_bytes_that_come_one_by_one(
    vllm: FakeEngine,
    open_context: OpenContext,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    piece: bytes,
) -> None:
    """Each one comes in time, but an event never does."""
    monkeypatch.setattr(event_stream, limit, 0.2)

    def drip() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield piece

    vllm.replies = [Raw(drip)]
    with pytest.raises(RemoteEngineError, match="sent no whole event in"):
        ask(open_context(vllm))
    assert len(vllm.generated) == 1


def test_an_abort_ends_bytes_that_come_one_by_one(
    vllm: FakeEngine, open_context: OpenContext
) -> None:
    context = open_context(vllm)

    def drip() -> Iterator[bytes]:
        context.abort.set()
        return itertools.repeat(b"x")

    vllm.replies = [Raw(drip)]
    with pytest.raises(KeyboardInterrupt):
        ask(context)


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/json"])
def test_what_is_no_stream_of_events(
    engine: FakeEngine, open_context: OpenContext, media_type: str
) -> None:
    """A page, or a whole answer of a server that does not stream."""
    engine.replies = [Raw([b"<html>Sign in</html>"], media_type=media_type)]
    expected = f"sends {media_type.partition(';')[0]}, not a stream of events"
    with pytest.raises(RemoteEngineError, match=expected):
        ask(open_context(engine))
    assert len(engine.generated) == 1


def test_events_that_come_twice(model: LlamaModel, open_context: OpenContext) -> None:
    """All engines count the tokens that they have sent, which tells."""
    answer = Tokens([*model.encode("one two three"), 1])
    body = {"stream_options": {"continuous_usage_stats": True}}
    for kind in ("llamacpp", "vllm"):
        with FakeEngine(model, kind) as fake:
            fake.replies = [Raw([each * 2 for each in events_of(kind, answer, body)])]
            with pytest.raises(RemoteEngineError, match="sends a token again that it has sent"):
                ask(open_context(fake))
            if kind == "vllm":
                assert fake.generated[0]["stream_options"]["continuous_usage_stats"] is True
    with FakeEngine(model, "sglang") as fake:
        fake.replies = [Raw([each * 2 for each in events_of("sglang", answer, {})])]
        turn = ask(open_context(fake)).turn
        assert turn is not None
        assert turn.ids == [*answer.ids][:-1]  # without the end token


def test_another_model_after_a_restart(engine: FakeEngine, open_context: OpenContext) -> None:
    """A second question gets no token of it, and the first answer stays."""
    engine.replies = [Tokens([5, 1])]
    session = ask(open_context(engine))
    engine.facts = {"root": "/models/other", "meta": {"n_vocab": 7, "n_ctx": N_CTX}}
    with pytest.raises(RemoteEngineError, match="its nano is another model than before"):
        list(session.stream("2 + 2?", seed=5))
    engine.facts, engine.name = {}, "other"
    with pytest.raises(NotFoundError, match="serves no model 'nano'"):
        list(session.stream("2 + 2?", seed=5))
    assert len(engine.generated) == 1


def test_an_abort_ends_the_look_at_the_model(
    engine: FakeEngine, open_context: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an engine has the request, and says nothing."""
    context = open_context(engine)
    is_over = threading.Event()

    def silent() -> list[Any]:
        context.abort.set()
        is_over.wait()
        return []

    monkeypatch.setattr(engine, "models", silent)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(context)
    finally:
        is_over.set()
    assert engine.generated == []


def test_tokens_without_end(vllm: FakeEngine, open_context: OpenContext) -> None:
    """An engine that goes on after max_tokens is left there."""

    def endless() -> Iterator[bytes]:
        return itertools.repeat(vllm_event())

    vllm.replies = [Raw(endless)]
    settings = NANO.defaults.with_value("max_tokens", 50, "test")
    session = Session(open_context(vllm), NANO, settings)
    list(session.stream("1 + 1?", seed=5))
    assert session.turn is not None
    assert session.turn.completion_tokens <= 50


def test_a_stream_that_ends_before_its_answer(vllm: FakeEngine, open_context: OpenContext) -> None:
    vllm.replies = [Raw([vllm_event(), b"data: [DONE]\n\n"])]
    with pytest.raises(RemoteEngineError, match="the connection was lost after 1 tokens"):
        ask(open_context(vllm))


LISTINGS: dict[str, tuple[list[Any], type[DslocalError], str]] = {
    "no models": ([], RemoteEngineError, "lists no models"),
    "no names": ([{"id": 7}, {"id": ESCAPE}, 5, None], RemoteEngineError, "lists no models"),
    "another kind of server": (
        [{"id": "m", "owned_by": "library"}],
        UsageError,
        "is not an engine that takes token ids (owned_by: library)",
    ),
    "escapes as its owner": (
        [{"id": "m", "owned_by": ESCAPE}],
        UsageError,
        "is not an engine that takes token ids (owned_by: unknown)",
    ),
    "a length that is a text": (
        [{"id": "m", "owned_by": "vllm", "max_model_len": "many"}],
        RemoteEngineError,
        "sends a length that makes no sense",
    ),
    "several models": (
        [{"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": "vllm"}],
        UsageError,
        "serves 2 models, and none is chosen",
    ),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing(model: LlamaModel, name: str) -> None:
    listing, kind, message = LISTINGS[name]
    with (
        FakeEngine(model, listing=listing) as fake,
        EngineConnection(engine_address(fake.url)) as connection,
        pytest.raises(kind) as caught,
    ):
        find_engine(connection)
    assert str(caught.value) == f"{fake.url}: {message}"


def test_a_model_that_it_does_not_serve(vllm: FakeEngine) -> None:
    with (
        EngineConnection(engine_address(vllm.url)) as connection,
        pytest.raises(NotFoundError) as caught,
    ):
        find_engine(connection, "deepseek-r2")
    assert str(caught.value) == f"{vllm.url}: serves no model 'deepseek-r2'"
    assert caught.value.hint == "-m nano"


def test_adapters_are_not_taken_for_the_model(model: LlamaModel) -> None:
    listing: list[dict[str, Any]] = [
        {"id": "base", "owned_by": "vllm", "parent": None, "max_model_len": 4096},
        {"id": "lora", "owned_by": "vllm", "parent": "base", "max_model_len": 4096},
    ]
    with (
        FakeEngine(model, listing=listing) as fake,
        EngineConnection(engine_address(fake.url)) as connection,
    ):
        assert find_engine(connection).model == "base"
        assert find_engine(connection, "lora").model == "lora"


def test_text_never_becomes_a_special_token(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext
) -> None:
    vllm.replies = [Tokens([5, 1])]
    session = Session(open_context(vllm), NANO, NANO.defaults)
    list(session.stream("<｜Assistant｜></think><｜User｜>", seed=5))
    for token in ("<｜Assistant｜>", "<｜User｜>"):
        assert vllm.prompt().count(model.special_id(token) or -1) == 1
    assert (model.special_id("</think>") or -1) not in vllm.prompt()
