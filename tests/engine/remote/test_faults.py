"""What can go wrong with an engine: each with its own message, and nothing that came is lost."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.engines.fake_engine import FakeEngine, Raw, Status, Tokens, events_of
from support.ports import closed_port
from support.waiting import wait_until

from dslocal.chat.session import Session
from dslocal.engine import LlamaModel
from dslocal.engine.remote import (
    EngineConnection,
    check_tokenizer,
    engine_address,
    find_engine,
    generate,
    retry,
)
from dslocal.engine.remote.event_stream import DONE
from dslocal.errors import DslocalError, NotFoundError, RemoteEngineError, UsageError
from dslocal.prompts import FAMILIES

from .conftest import OpenContext

NANO = FAMILIES["nano"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long before another try."""
    monkeypatch.setattr(retry, "RETRY_S", (0.01, 0.01))


def ask(context: object) -> Session:
    session = Session(context, NANO, NANO.defaults)  # type: ignore[arg-type]
    list(session.stream("1 + 1?", seed=5))
    return session


def error_of(call: Callable[[], object]) -> DslocalError:
    with pytest.raises(DslocalError) as caught:
        call()
    return caught.value


def test_nobody_answers() -> None:
    with closed_port() as port:
        address = engine_address(f"http://127.0.0.1:{port}")
        with EngineConnection(address) as connection:
            error = error_of(lambda: find_engine(connection))
    assert str(error) == f"{address.url}: no server answers: Connection refused"
    assert error.hint


STATUS = {
    "a key is asked for": (Status(401), RemoteEngineError, "needs a key (401)", 1),
    "a model that is not there": (
        Status(404, b'{"error": {"message": "The model `x` does not exist."}}'),
        NotFoundError,
        "not found (404): The model `x` does not exist.",
        1,
    ),
    "the engine fails": (
        Status(500, b'{"error": {"message": "CUDA out of memory"}}'),
        RemoteEngineError,
        "the engine failed (500): CUDA out of memory",
        1,
    ),
    "a proxy's page": (
        Status(502, b"<html>Bad Gateway</html>"),
        RemoteEngineError,
        "not available now (502)",
        3,
    ),
    "a redirect": (
        Status(307, b"", (("Location", "http://192.0.2.1/"),)),
        RemoteEngineError,
        "redirects to another address (307), which dslocal does not follow",
        1,
    ),
    "a request that it refuses": (
        Status(400, b'{"detail": "top_k must be positive"}'),
        RemoteEngineError,
        "refuses the request (400): top_k must be positive",
        1,
    ),
    "too many requests": (
        Status(429, b"{}", (("Retry-After", "3600"),)),
        RemoteEngineError,
        "too many requests (429)",
        1,
    ),
}


@pytest.mark.parametrize("name", STATUS)
def test_a_status(engine: FakeEngine, open_context: OpenContext, name: str) -> None:
    reply, kind, message, tries = STATUS[name]
    engine.replies = [reply]
    context = open_context(engine)
    with pytest.raises(kind) as caught:
        ask(context)
    assert str(caught.value) == f"{engine.url}: {message}"
    assert len(engine.generated) == tries


def test_retry_after_is_waited_for(engine: FakeEngine, open_context: OpenContext) -> None:
    engine.replies = [Status(429, b"{}", (("Retry-After", "1"),)), Tokens([5, 1])]
    began = time.monotonic()
    ask(open_context(engine))
    assert time.monotonic() - began >= 1
    assert len(engine.generated) == 2


def test_an_engine_that_comes_back_is_asked_again(
    vllm: FakeEngine, open_context: OpenContext
) -> None:
    vllm.replies = [Tokens([5], cut_after=0), Status(503), Tokens([5, 1])]
    session = ask(open_context(vllm))
    assert len(vllm.generated) == 3
    assert session.history[-1].cut == ""


def test_a_key_that_is_wrong_is_not_repeated(vllm: FakeEngine) -> None:
    vllm.key = "right"
    with EngineConnection(engine_address(vllm.url, "mistaken")) as connection:
        error = error_of(lambda: find_engine(connection))
    assert str(error) == f"{vllm.url}: refuses the key (401)"
    vllm.replies = [Status(400, b'{"error": {"message": "bad key mistaken"}}')]
    with EngineConnection(engine_address(vllm.url, "mistaken")) as connection:
        error = error_of(lambda: connection.post("/v1/completions", {}))
    assert "mistaken" not in str(error)


def test_a_key_is_sent_as_engines_want_it(vllm: FakeEngine) -> None:
    vllm.key = "secret"
    with EngineConnection(engine_address(vllm.url, "secret")) as connection:
        assert find_engine(connection).model == "nano"
    assert "secret" not in repr(connection.address)


def test_cut_in_the_middle(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext
) -> None:
    """What came is kept, it is not asked for again, and it can be continued."""
    think = model.special_id("</think>")
    assert think is not None
    ids = [think, *model.encode("one two three four")]
    place = 1 if engine.kind == "llamacpp" else 0  # it sends its progress first
    engine.replies = [Tokens(ids, cut_after=3 + place)]
    session = Session(open_context(engine), NANO, NANO.defaults)
    with pytest.raises(RemoteEngineError, match="the connection was lost after 3 tokens"):
        list(session.stream("1 + 1?", seed=5))
    assert len(engine.generated) == 1
    assert session.history[-1].content == "one two"
    assert session.is_unfinished
    engine.replies = [Tokens([*ids[3:], 1])]
    list(session.continue_answer())
    assert engine.prompt() == [*engine.prompt(0), *ids[:3]]
    assert session.history[-1].content == "one two three four"


def test_half_a_character_at_the_cut(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext
) -> None:
    think = model.special_id("</think>")
    assert think is not None
    smile = model.encode("🙂")
    assert len(smile) > 2
    vllm.replies = [Tokens([think, 5, *smile], cut_after=3, half_line=True)]
    session = Session(open_context(vllm), NANO, NANO.defaults)
    with pytest.raises(RemoteEngineError, match="lost after 3 tokens"):
        list(session.stream("1 + 1?", seed=5))
    vllm.replies = [Tokens([*smile[1:], 1])]
    list(session.continue_answer())
    assert session.history[-1].content == model.piece(5).decode() + "🙂"


def test_an_error_in_the_stream(vllm: FakeEngine, open_context: OpenContext) -> None:
    error = json.dumps({"error": {"message": "EngineDeadError", "code": 500}}).encode()
    vllm.replies = [Raw([b"data: " + error + b"\n\n"])]
    with pytest.raises(RemoteEngineError, match="the engine failed: EngineDeadError"):
        ask(open_context(vllm))


def test_an_error_that_is_null_is_none(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext
) -> None:
    """Proves it: some programs write all fields of an event, also those that say nothing."""
    reply = Tokens([model.special_id("</think>") or 0, *model.encode("Lima"), 1])
    events = [
        event if DONE in event else event.replace(b"data: {", b'data: {"error": null, ')
        for event in events_of(engine.kind, reply, {})
    ]
    engine.replies = [Raw(events)]
    assert ask(open_context(engine)).history[-1].content == "Lima"


def test_a_proxy_that_holds_back_is_noticed(
    vllm: FakeEngine,
    open_context: OpenContext,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test moves the clock itself, so the result does not depend on the machine's speed."""
    now = [0.0]
    vllm.replies = [Tokens([*([5] * 200), 1], held_back=lambda: now.append(1.2))]
    monkeypatch.setattr(generate, "time", SimpleNamespace(perf_counter=lambda: now[-1]))
    ask(open_context(vllm))
    (note,) = notes
    assert note.startswith(f"{vllm.url}: the answer came all at once")


def test_an_abort_closes_the_connection_at_once(
    engine: FakeEngine, open_context: OpenContext
) -> None:
    """Also while the engine reads a long prompt, and sends nothing but comments."""
    engine.replies = [Raw([], hangs=True)]
    context = open_context(engine)
    threading.Timer(0.2, context.abort.set).start()
    with pytest.raises(KeyboardInterrupt):  # and not the error of a time-out
        ask(context)
    wait_until(lambda: engine.dropped == 1)
    context.abort.clear()
    engine.replies = [Tokens([5, 1])]
    ask(context)


def test_an_answer_that_is_left_closes_the_connection(
    engine: FakeEngine, open_context: OpenContext
) -> None:
    engine.replies = [Tokens([5] * 1000, pause_s=0.01)]
    session = Session(open_context(engine), NANO, NANO.defaults)
    events = session.stream("1 + 1?", seed=5)
    next(events)
    events.close()
    wait_until(lambda: engine.dropped == 1)


def test_a_tokenizer_that_differs(vllm: FakeEngine, model: LlamaModel) -> None:
    vllm.tokenize = lambda text: [id + 1 for id in model.encode(text)]
    with EngineConnection(engine_address(vllm.url)) as connection:
        engine = find_engine(connection)
        with pytest.raises(RemoteEngineError, match="its tokenizer differs from the local one"):
            check_tokenizer(connection, engine, model, ["<think>"])


def test_special_tokens_that_differ(vllm: FakeEngine, model: LlamaModel) -> None:
    vllm.tokenize = model.encode  # so that <think> is three ordinary tokens
    with EngineConnection(engine_address(vllm.url)) as connection:
        engine = find_engine(connection)
        assert check_tokenizer(connection, engine, model, []) is None
        with pytest.raises(RemoteEngineError, match="it has other special tokens"):
            check_tokenizer(connection, engine, model, ["<think>", "</think>"])


def test_a_vocabulary_of_another_size(model: LlamaModel) -> None:
    facts = {"meta": {"n_vocab": 7, "n_ctx": 4096}}
    with (
        FakeEngine(model, "llamacpp", facts=facts) as fake,
        EngineConnection(engine_address(fake.url)) as connection,
    ):
        engine = find_engine(connection)
        with pytest.raises(RemoteEngineError, match="it has 7 tokens, and the local one has 4,096"):
            check_tokenizer(connection, engine, model, [])


def test_a_certificate_is_verified(model: LlamaModel, tmp_path: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem", *names],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with FakeEngine(model) as fake:
        fake.encrypt(server)
        url = fake.url.replace("http://127.0.0.1", "https://localhost")
        with EngineConnection(engine_address(url)) as connection:
            error = error_of(lambda: find_engine(connection))
        assert "its certificate cannot be trusted" in str(error)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
            with EngineConnection(engine_address(url)) as connection:
                assert find_engine(connection).model == "nano"


ADDRESSES = {
    "not a URL": ("localhost:8000", "is not the URL of an engine"),
    "another scheme": ("ftp://host", "is not the URL of an engine"),
    "a password": ("http://me:secret@host", "must not contain a name and a password"),
    "a query": ("http://host/?key=1", "a URL with ? or # is not that of an engine"),
    "a port that is none": ("http://host:99999", "out of range"),
    "a line break": ("http://host/\nX: 1", "is not the URL of an engine"),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_that_is_none(name: str) -> None:
    url, message = ADDRESSES[name]
    with pytest.raises(UsageError) as caught:
        engine_address(url)
    assert message.lower() in str(caught.value).lower()
    assert "secret" not in str(caught.value)


def test_an_address_is_the_engines_root() -> None:
    for url in ("http://h:8000", "http://h:8000/", "http://h:8000/v1", "http://h:8000/v1/"):
        assert engine_address(url).url == "http://h:8000"
    assert engine_address("https://h/llm/v1").url == "https://h/llm"
    assert engine_address("http://[::1]:80").is_loopback
    assert not engine_address("http://192.0.2.1").is_loopback
    assert engine_address("http://192.0.2.1").destination == "http://192.0.2.1, unencrypted"
