"""Proves that an argument of a wrong type is an error of usage that names the argument, in every
function of the public API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import dslocal
from dslocal import Message, Model, Tool, ToolCall

OBJECT = object()
NOT_TEXTS = [1, 1.5, True, b"x", {"a": 1}, ["x"], OBJECT]
NOT_LISTS = [1, "x", b"x", {"a": 1}, OBJECT]
NOT_FLAGS = [1, "yes", b"x", [True], OBJECT]
NOT_NUMBERS = [1.5, True, "1", b"x", {"a": 1}, [1], OBJECT]
NOT_FUNCTIONS = [1, "x", b"x", {"a": 1}, [print], OBJECT]
NOT_TOOLS = [
    [1],
    [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    [Tool(cast(Any, 1), "what", {})],
    [Tool("f", cast(Any, None), {})],
    [Tool("f", "what", cast(Any, [1]))],
    [Tool("f", "what", {"a": OBJECT})],
    Tool("f", "what", {}),
]
NOT_MESSAGES = [
    [1],
    [{"role": "user", "content": "hi"}],
    [Message(cast(Any, "bot"), "hi")],
    [Message("user", cast(Any, 1))],
    [Message("user", cast(Any, [{"type": "image_url"}]))],
    [Message("assistant", "hi", cast(Any, b"x"))],
    [Message("assistant", "hi", calls=cast(Any, [{"name": "f"}]))],
    [Message("assistant", "hi", calls=(ToolCall("f", cast(Any, {})),))],
    [Message("system", "hi", tools=cast(Any, [{}]))],
    Message("user", "hi"),
]
Call = Callable[..., object]


@pytest.fixture(scope="module")
def loaded(nano: Path) -> Iterator[Model]:
    """nano, which answers nothing in these tests."""
    with dslocal.load(nano, n_ctx=256) as model:
        yield model


def refused(call: Call, name: str, values: list[Any], **more: Any) -> None:
    for value in values:
        with pytest.raises(dslocal.UsageError, match=rf"^{name}\b") as error:
            call(**{**more, name: value})
        assert len(str(error.value)) < 200


def test_questions(loaded: Model) -> None:
    chat = loaded.chat()
    for ask in (loaded.ask, loaded.stream, chat.ask, chat.stream):
        question: dict[str, Any] = {"text": "hi"}
        refused(ask, "text", [*NOT_TEXTS, None])
        refused(ask, "files", [*NOT_LISTS, [1], [b"x"]], **question)
        refused(ask, "math", NOT_FLAGS, **question)
        refused(ask, "seed", NOT_NUMBERS, **question)
        refused(ask, "on_prefill", NOT_FUNCTIONS, **question)
        refused(ask, "stop", [1, {"a": 1}, [1], b"x"], **question)
        refused(ask, "logit_bias", [1, {"a": 1}, [1], b"x", "x"], **question)
        refused(ask, "temperature", [True, "hot", [1], {}], **question)
    refused(chat.continue_answer, "on_prefill", NOT_FUNCTIONS)
    assert not chat.messages


def test_sessions(loaded: Model) -> None:
    for call, more in ((loaded.ask, {"text": "hi"}), (loaded.chat, {})):
        refused(call, "system", NOT_TEXTS, **more)
        refused(call, "thinking", NOT_FLAGS, **more)
        refused(call, "effort", [1, b"x", {"a": 1}, ["high"]], **more)
        refused(call, "tools", [*NOT_LISTS, *NOT_TOOLS], **more)
    refused(loaded.ask, "schema", [1, True, b"x", [1], OBJECT], text="hi")
    refused(loaded.ask, "grammar", NOT_TEXTS, text="hi")
    refused(loaded.chat, "resume", NOT_TEXTS)
    refused(loaded.chat().save, "path", [*NOT_TEXTS[1:], None])


def test_what_generates_no_answer(loaded: Model) -> None:
    refused(loaded.tokenize, "text", NOT_TEXTS)
    refused(loaded.fill, "prefix", NOT_TEXTS, suffix="x")
    refused(loaded.fill, "suffix", NOT_TEXTS, prefix="x")
    refused(loaded.render, "messages", [*NOT_LISTS, *NOT_MESSAGES])
    refused(loaded.render, "thinking", NOT_FLAGS, messages=[Message("user", "hi")])


def test_an_error_names_the_entry(loaded: Model) -> None:
    good = Tool("f", "what", {"type": "object"})
    for tools, message in [
        ([good, {"name": "g"}], "tools[1]: {'name': 'g'} is not a dslocal.Tool"),
        ([Tool("f", "what", cast(Any, []))], "tools[0].parameters: [] is not a JSON Schema"),
    ]:
        with pytest.raises(dslocal.UsageError) as error:
            loaded.ask("hi", tools=cast(Any, tools))
        assert str(error.value) == message
        assert error.value.hint.startswith("write it as dslocal.Tool(")
    with pytest.raises(dslocal.UsageError) as error:
        loaded.render([Message("user", "hi"), Message("user", cast(Any, None))])
    assert str(error.value) == "messages[1].content: None is not a text"


def test_loading() -> None:
    refused(dslocal.load, "model", NOT_TEXTS)
    for name in ("n_ctx", "n_gpu_layers"):
        refused(dslocal.load, name, NOT_NUMBERS, model="nano")
    for name in ("kv_type", "mtp", "stream_experts", "engine_model", "tokenizer", "family"):
        refused(dslocal.load, name, NOT_TEXTS, model="nano")
    refused(dslocal.load, "rpc", [1, b"x", [1], OBJECT], model="nano")
    for name in ("on_notice", "on_progress"):
        refused(dslocal.load, name, NOT_FUNCTIONS, model="nano")


def test_planning() -> None:
    refused(dslocal.plan, "model", NOT_TEXTS)
    for name in ("quant", "kv_type", "stream_experts", "ram", "os", "cpu", "chip", "bandwidth"):
        refused(dslocal.plan, name, NOT_TEXTS, model="nano")
    for name in ("vram", "gpu"):
        refused(dslocal.plan, name, [1, b"x", [1], OBJECT], model="nano")
    for name in ("n_ctx", "n_gpu_layers"):
        refused(dslocal.plan, name, NOT_NUMBERS, model="nano")


def test_conversion(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    calls: list[Call] = [dslocal.convert, dslocal.quantize]
    for call in calls:
        refused(call, "source", NOT_TEXTS, output=out)
        refused(call, "output", NOT_TEXTS, source="nano")
        more = {"source": "nano", "output": out}
        for name in ("recipe", "imatrix", "size", "split_size"):
            refused(call, name, NOT_TEXTS, **more)
        refused(call, "quant", [1, b"x", [1], OBJECT], **more)
        refused(call, "jobs", NOT_NUMBERS, **more)
        for name in ("keep_intermediate", "split_experts", "overwrite"):
            refused(call, name, NOT_FLAGS, **more)
        for name in ("on_progress", "on_evaluated", "on_notice"):
            refused(call, name, NOT_FUNCTIONS, **more)
    more = {"source": "nano", "output": out}
    refused(dslocal.convert, "revision", NOT_TEXTS, **more)
    refused(dslocal.convert, "stream", NOT_FLAGS, **more)
    refused(dslocal.convert, "mtp", [*NOT_TEXTS, "all"], **more)
    refused(dslocal.quantize, "allow_larger", NOT_FLAGS, **more)
    assert not list(tmp_path.iterdir())


def test_quality(nano: Path) -> None:
    refused(dslocal.quality, "model", NOT_TEXTS, reference=nano)
    refused(dslocal.quality, "reference", NOT_TEXTS, model=nano)
    more = {"model": nano, "reference": nano}
    refused(dslocal.quality, "text", [*NOT_LISTS, [1]], **more)
    for name in ("tokens", "n_ctx"):
        refused(dslocal.quality, name, NOT_NUMBERS, **more)
    refused(dslocal.quality, "family", NOT_TEXTS, **more)
    for name in ("on_progress", "on_notice"):
        refused(dslocal.quality, name, NOT_FUNCTIONS, **more)
