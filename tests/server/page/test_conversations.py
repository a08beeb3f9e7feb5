"""Proves that the page's conversations are the terminal's: asked, edited, continued, found."""

from __future__ import annotations

from typing import Any

import pytest
from support.server.page_client import ENDLESS, PageClient

from dslocal import chat
from dslocal.prompts import Message

PERU = "What is the capital of Peru?"
JAPAN = "What is the capital of Japan?"
GREEDY = {"temperature": 0}


def test_a_question_and_its_answer_are_on_disk(page: PageClient) -> None:
    id, end = page.ask("What is 31 + 57?", settings=GREEDY)
    assert end["error"] is None
    assert "88" in end["text"]
    assert end["reasoning"]
    assert end["figures"]["completion_tokens"] > end["figures"]["reasoning_tokens"] > 0
    stored = page.stored(id)
    assert [message.role for message in stored.history] == ["user", "assistant"]
    assert stored.history[1].content == end["text"]
    assert stored.history[1].reasoning == end["reasoning"]
    assert stored.model == "nano"
    shown = page.show(id)
    assert shown["messages"][1]["text"] == end["text"]
    assert shown["answer"]["type"] == "end"


def test_deltas_add_up_to_the_answer(page: PageClient) -> None:
    id = page.begin("What is 47 × 86?", settings=GREEDY)
    reasoning = text = ""
    states = []
    for event in page.events(id):
        if event["type"] == "delta":
            reasoning += event["reasoning"]
            text += event["text"]
        elif event["type"] != "progress":
            reasoning, text = event["reasoning"], event["text"]
            states.append(event["state"])
    history = page.stored(id).history
    assert (reasoning, text) == (history[1].reasoning, history[1].content)
    assert states[-1] == "done"


def test_the_next_question_knows_the_last(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    assert page.send(id, text=JAPAN, settings=GREEDY).status_code == 202
    assert "Tokyo" in page.end(id)["text"]
    assert [message.role for message in page.stored(id).history] == ["user", "assistant"] * 2


def test_a_conversation_of_the_terminal_is_continued(page: PageClient) -> None:
    with page.on_disk():
        stored = chat.new_conversation("nano")
        stored.save([Message("user", PERU), Message("assistant", "The capital of Peru is Lima.")])
        stored.close()
    assert stored.id in [found["id"] for found in page.found()]
    assert page.send(stored.id, text=JAPAN, settings=GREEDY).status_code == 202
    page.end(stored.id)
    assert len(page.stored(stored.id).history) == 4


def test_retry_asks_the_same_again(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    assert page.send(id, action="retry").status_code == 202
    page.end(id)
    history = page.stored(id).history
    assert [message.content for message in history if message.role == "user"] == [PERU]
    assert len(history) == 2


def test_an_edited_question_takes_the_place_of_what_followed(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    page.send(id, text="What is 2 + 2?", settings=GREEDY)
    page.end(id)
    assert page.send(id, action="edit", message=0, text=JAPAN, settings=GREEDY).status_code == 202
    assert "Tokyo" in page.end(id)["text"]
    assert [message.content for message in page.stored(id).history][::2] == [JAPAN]


def test_files_go_before_an_edited_question_again(page: PageClient) -> None:
    file = {"name": "cache.ini", "text": "user = anna\nport = 8080\n"}
    id, end = page.ask("What is the port?", files=[file], settings=GREEDY)
    assert "8080" in end["text"]
    page.send(id, action="edit", message=0, text="What is the user?", settings=GREEDY)
    page.end(id)
    question = page.stored(id).history[0]
    assert "cache.ini" in question.content
    assert question.typed == "What is the user?"
    shown = page.show(id)["messages"][0]
    assert (shown["text"], "port = 8080" in shown["sent"]) == ("What is the user?", True)


def test_a_cut_answer_is_continued(page: PageClient) -> None:
    whole = page.ask("What is 31 + 57?", settings=GREEDY)[1]
    id, cut = page.ask("What is 31 + 57?", settings={**GREEDY, "max_tokens": 20})
    assert page.stored(id).history[1].cut == "length"
    assert cut["text"] == ""
    assert page.send(id, action="continue", settings=GREEDY).status_code == 202
    end = page.end(id)
    assert (end["reasoning"], end["text"]) == (whole["reasoning"], whole["text"])
    assert page.stored(id).history[1].cut == ""


def test_instructions_and_reasoning_are_the_conversations(page: PageClient) -> None:
    id, end = page.ask(PERU, system="Be brief.", thinking=False, settings=GREEDY)
    stored = page.stored(id)
    assert (stored.system, stored.thinking, end["reasoning"]) == ("Be brief.", "bypassed", "")
    page.send(id, text=JAPAN, settings=GREEDY)
    assert page.end(id)["reasoning"] == ""
    assert any("thinking" in note for note in end["notes"])


def test_search_finds_what_was_said(page: PageClient) -> None:
    id, _ = page.ask("What is the capital of Norway?", settings=GREEDY)
    found = page.found("NORWAY")
    assert found[0]["id"] == id
    assert "Norway" in found[0]["match"]
    assert page.found("no line has this in it") == []


def test_delete(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    assert page.served.http.delete(f"/dslocal/conversations/{id}").json() == {"deleted": id}
    assert page.served.http.get(f"/dslocal/conversations/{id}").status_code == 404
    assert id not in [found["id"] for found in page.found()]


def test_the_state_says_where_settings_come_from(page: PageClient) -> None:
    state = page.state()
    (model,) = state["models"]
    settings = {each["name"]: each for each in model["settings"]}
    assert model["is_loaded"]
    assert settings["temperature"]["value"] == 0.6
    assert "model card" in settings["temperature"]["source"]
    assert sum(part["host"] for part in model["memory"]) > 1 << 20
    assert state["machine"]["total"] > state["machine"]["resident"] > 1 << 20


@pytest.mark.parametrize(
    ("turn", "status"),
    [
        ({"text": " "}, 400),
        ({"action": "edit", "text": "x", "message": 1}, 400),
        ({"action": "edit", "text": "x"}, 400),
        ({"action": "continue"}, 400),
        ({"action": "dance"}, 422),
        ({"text": "x", "model": "gpt-4o"}, 404),
        ({"text": "x", "unknown": 1}, 422),
        ({"text": "x", "message": -1}, 422),
        ({"text": 7}, 422),
        ({"text": "x", "files": [{"name": "", "text": ""}]}, 422),
    ],
)
def test_what_cannot_be_asked(page: PageClient, turn: dict[str, Any], status: int) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    before = page.stored(id).history
    answer = page.send(id, **turn)
    assert answer.status_code == status, answer.text
    assert page.stored(id).history == before


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"settings": {"temperature": -1}}, None, "temperature"),
        ({"settings": {"nonsense": 1}}, None, "nonsense"),
        ({"effort": "max"}, None, "effort"),
    ],
)
def test_settings_that_are_refused(
    page: PageClient, more: dict[str, Any], code: str | None, words: str
) -> None:
    id, end = page.ask(PERU, **more)
    assert end["error"]["code"] == code
    assert words in end["error"]["message"]
    shown = page.show(id)
    assert (shown["messages"], shown["answer"]["question"]["text"]) == ([], PERU)
    assert page.send(id, text=PERU, settings=GREEDY).status_code == 202
    assert "Lima" in page.end(id)["text"]


def test_a_question_too_long_for_the_context_is_kept(page: PageClient) -> None:
    long = "word " * 4000
    id, end = page.ask(long)
    assert end["error"]["code"] == "context_length_exceeded"
    assert [message.content for message in page.stored(id).history] == [long]
    page.send(id, text=PERU, settings=GREEDY)
    assert page.end(id)["error"] is None
    assert len(page.stored(id).history) == 2


@pytest.mark.parametrize("id", ["20260101-000000-0000", "nonsense", "..", "%2e%2e", "20260101"])
@pytest.mark.parametrize("path", ["", "/answer"])
def test_no_such_conversation(page: PageClient, id: str, path: str) -> None:
    assert page.served.http.get(f"/dslocal/conversations/{id}{path}").status_code == 404


def test_a_damaged_file_is_not_called_open_in_a_terminal(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    with page.on_disk():
        file = chat.load_by_id(id).file
    file.write_bytes(b"{}\n")
    for in_copy in (False, True):
        refused = page.send(id, text=JAPAN, in_copy=in_copy)
        assert refused.status_code == 500
        assert "is not a conversation" in refused.json()["error"]["message"]
    file.unlink()


def test_open_in_a_terminal(page: PageClient) -> None:
    id, _ = page.ask(PERU, settings=GREEDY)
    with page.on_disk():
        held = chat.load_by_id(id)
        assert held.lock()
        refused = page.send(id, text=JAPAN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_open")
        copied = page.send(id, text=JAPAN, in_copy=True, settings=GREEDY).json()["id"]
        page.end(copied)
        held.close()
    assert len(page.stored(id).history) == 2
    assert len(page.stored(copied).history) == 4


def test_logit_bias_reaches_the_sampler(page: PageClient) -> None:
    _, end = page.ask(PERU, settings={**ENDLESS, "max_tokens": 300})
    assert end["figures"]["completion_tokens"] == 300
