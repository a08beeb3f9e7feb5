"""Prove that a conversation remembers, is taken back, saved and continued, on nano."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dslocal


@pytest.fixture(scope="module")
def loaded(nano: Path) -> Iterator[dslocal.Model]:
    with dslocal.load(nano) as model:
        yield model


def test_it_remembers(loaded: dslocal.Model) -> None:
    chat = loaded.chat()
    assert chat.ask("What is the capital of Peru?", seed=1).text == "The capital of Peru is Lima."
    assert chat.ask("And of Japan?", seed=1).text == "The capital of Japan is Tokyo."
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2


@pytest.mark.parametrize(
    "values", [{"logit_bias": ["4096=1"]}, {"top_p": 2.0}, {"stop": [""]}, {"think_budget": -1}]
)
def test_settings_that_are_refused_change_nothing(
    loaded: dslocal.Model, values: dict[str, Any]
) -> None:
    """Proves that not even the valid one before them holds for the next question."""
    chat = loaded.chat()
    with pytest.raises(dslocal.UsageError):
        chat.ask("What is the capital of Peru?", seed=1, max_tokens=5, **values)
    answer = chat.ask("What is the capital of Peru?", seed=1)
    assert answer.text == "The capital of Peru is Lima."


def test_a_conversation_with_impossible_settings_is_not_begun(loaded: dslocal.Model) -> None:
    with pytest.raises(dslocal.UsageError, match="token 4096 does not exist"):
        loaded.chat(logit_bias=["4096=1"])


def test_a_question_is_taken_back(loaded: dslocal.Model) -> None:
    chat = loaded.chat()
    assert chat.undo() is None
    chat.ask("What is the capital of Peru?", seed=1)
    assert chat.undo() == "What is the capital of Peru?"
    assert chat.messages == ()


def test_a_cut_answer_continues(loaded: dslocal.Model) -> None:
    whole = loaded.chat().ask("What is 47 × 86?", seed=3)
    chat = loaded.chat(max_tokens=20)
    cut = chat.ask("What is 47 × 86?", seed=3)
    assert cut.finish_reason == "length"
    chat = loaded.chat()
    chat.ask("What is 47 × 86?", seed=3, max_tokens=20)
    for _ in range(100):
        chat.continue_answer()
        if not chat.messages[-1].cut:
            break
    assert (chat.messages[-1].content, chat.messages[-1].reasoning) == (
        whole.text,
        whole.reasoning,
    )


def test_a_whole_answer_does_not_continue(loaded: dslocal.Model) -> None:
    chat = loaded.chat()
    chat.ask("What is the capital of Peru?", seed=1)
    with pytest.raises(dslocal.UsageError):
        chat.continue_answer()


def test_saved_and_resumed(loaded: dslocal.Model, tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    chat = loaded.chat(system="Be brief.")
    chat.ask("What is the capital of Peru?", seed=1)
    chat.save(file)
    assert json.loads(file.read_text(encoding="utf-8"))["system"] == "Be brief."
    again = loaded.chat(resume=file)
    assert again.messages == chat.messages
    assert again.ask("And of Japan?", seed=1).text == chat.ask("And of Japan?", seed=1).text


def test_a_file_that_cannot_be_written_is_an_error(loaded: dslocal.Model, tmp_path: Path) -> None:
    with pytest.raises(dslocal.DslocalError, match="nowhere"):
        loaded.chat().save(tmp_path / "nowhere" / "notes.json")


GOOD: dict[str, Any] = {"format": 1, "model": "nano", "system": "", "messages": []}
DAMAGED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "no JSON"),
    "not UTF-8": (b"\xff\xfe{", "no JSON"),
    "deep": (b"[" * 100_000, "no JSON"),
    "a list": (b"[]", "of this version"),
    "another format": (b'{"format": 99}', "of this version"),
    "messages": (json.dumps({**GOOD, "messages": 1}).encode(), "messages"),
    "a message": (json.dumps({**GOOD, "messages": [1]}).encode(), "messages"),
    "a role": (json.dumps({**GOOD, "messages": [{"role": "root"}]}).encode(), "role 'root'"),
    "content": (
        json.dumps({**GOOD, "messages": [{"role": "user", "content": 1}]}).encode(),
        "content",
    ),
    "a cut": (
        json.dumps({**GOOD, "messages": [{"role": "user", "cut": "x"}]}).encode(),
        "cut 'x'",
    ),
    "calls": (
        json.dumps({**GOOD, "messages": [{"role": "user", "tool_calls": [1]}]}).encode(),
        "tool_calls",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(loaded: dslocal.Model, tmp_path: Path, name: str) -> None:
    content, message = DAMAGED[name]
    file = tmp_path / "notes.json"
    file.write_bytes(content)
    with pytest.raises(dslocal.DslocalError, match=message) as raised:
        loaded.chat(resume=file)
    assert str(file) in str(raised.value)


def test_a_file_that_is_absent_is_not_found(loaded: dslocal.Model, tmp_path: Path) -> None:
    with pytest.raises(dslocal.NotFoundError):
        loaded.chat(resume=tmp_path / "absent.json")
