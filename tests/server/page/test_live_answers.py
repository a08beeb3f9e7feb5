"""Proves that an answer belongs to the server: it continues without any page, and stops when a page
asks for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from support.server.page_client import ENDLESS, PageClient
from support.server.serving import Serving, serving
from support.waiting import wait_until

from dslocal.errors import DslocalError

QUESTION = "What is the capital of Peru?"


def has_started(page: PageClient, id: str) -> bool:
    answer = page.show(id)["answer"]
    return bool(answer["reasoning"] or answer["text"])


def test_a_page_that_comes_again_gets_all_of_it(page: PageClient) -> None:
    id = page.begin(QUESTION, settings=ENDLESS)
    with closing(page.events(id)) as events:
        seen = next(event for event in events if event.get("reasoning"))
    again = list(page.events(id))
    assert again[0]["reasoning"].startswith(seen["reasoning"][:20])
    assert again[-1]["type"] == "end"
    history = page.stored(id).history
    assert again[-1]["reasoning"] == history[1].reasoning


def test_an_answer_ends_without_a_page(page: PageClient) -> None:
    id = page.begin(QUESTION, settings={"temperature": 0})
    wait_until(lambda: page.show(id)["answer"]["type"] == "end")
    assert "Lima" in page.stored(id).history[1].content


def test_stop_keeps_what_came(page: PageClient) -> None:
    id = page.begin(QUESTION, settings=ENDLESS)
    wait_until(lambda: has_started(page, id))
    assert page.served.post(f"/dslocal/conversations/{id}/answer/stop", {}).status_code == 200
    end = page.end(id)
    assert end["error"] is None
    message = page.stored(id).history[1]
    assert (message.reasoning, message.content) == (end["reasoning"], end["text"])
    assert message.cut in ("interrupted", "length")


def test_stopping_again_and_again_leaves_the_conversation_usable(page: PageClient) -> None:
    """Proves it also while the answer is put on disk: the next question is answered."""
    id = page.begin(QUESTION, settings=ENDLESS)
    for _ in range(8):
        page.served.post(f"/dslocal/conversations/{id}/answer/stop", {})
    page.end(id)
    assert page.send(id, text=QUESTION, settings={"temperature": 0}).status_code == 202
    assert "Lima" in page.end(id)["text"]


def test_the_model_answers_now(page: PageClient) -> None:
    id = page.begin("What is 4711 × 8612?", settings={"temperature": 0})
    wait_until(lambda: has_started(page, id))
    path = f"/dslocal/conversations/{id}/answer/end-reasoning"
    assert page.served.post(path, {}).status_code in (200, 404)
    assert page.end(id)["text"]


@pytest.mark.parametrize("action", ["stop", "end-reasoning"])
def test_nothing_to_stop(page: PageClient, action: str) -> None:
    id = page.begin(QUESTION, settings={"temperature": 0})
    page.end(id)
    answer = page.served.post(f"/dslocal/conversations/{id}/answer/{action}", {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_answer")


def test_one_answer_at_a_time(page: PageClient) -> None:
    id = page.begin(QUESTION, settings=ENDLESS)
    wait_until(lambda: has_started(page, id))
    second = page.send(id, text="And of Japan?")
    deleted = page.served.http.delete(f"/dslocal/conversations/{id}")
    if page.show(id)["answer"]["type"] != "end":  # the answer was on its way all the while
        assert (second.status_code, deleted.status_code) == (409, 409)
    page.end(id)


@pytest.fixture(scope="module")
def narrow(served: Serving) -> Iterator[PageClient]:
    """A server with one slot, and room for one more in its queue."""
    with serving(served.home, "--parallel", "1", "--ctx", "4096", "--queue", "1") as server:
        yield PageClient(server)


def test_a_full_queue_is_said_and_the_question_kept(narrow: PageClient) -> None:
    first = narrow.begin(QUESTION, settings=ENDLESS)
    wait_until(lambda: has_started(narrow, first))
    second = narrow.begin(QUESTION, settings=ENDLESS)
    wait_until(lambda: narrow.show(second)["answer"]["state"] == "waiting")
    wait_until(lambda: narrow.state()["waiting"] == 1)
    third = narrow.begin(QUESTION, settings=ENDLESS)
    end = narrow.end(third)
    assert end["error"]["code"] == "queue_full"
    assert [message.content for message in narrow.stored(third).history] == [QUESTION]
    for id in (second, first):
        narrow.served.post(f"/dslocal/conversations/{id}/answer/stop", {})
        narrow.end(id)
    assert len(narrow.stored(second).history) == 1  # stopped before its turn
    assert narrow.send(third, action="retry", settings={"temperature": 0}).status_code == 202
    assert "Lima" in narrow.end(third)["text"]


def test_a_server_that_is_stopped_keeps_what_came(served: Serving) -> None:
    with serving(served.home, "--parallel", "2", "--ctx", "4096", "--grace", "0") as server:
        page = PageClient(server)
        id = page.begin(QUESTION, settings=ENDLESS)
        wait_until(lambda: has_started(page, id))
        assert server.stop() == 0
    message = page.stored(id).history[1]
    assert message.reasoning or message.content
    assert message.cut in ("interrupted", "length")


def test_a_server_that_is_stopped_lets_answers_end_within_the_grace(served: Serving) -> None:
    """Proves it where no page follows: then no request is open that the server would wait for."""
    with serving(served.home, "--parallel", "2", "--ctx", "4096", "--grace", "60") as server:
        page = PageClient(server)
        id = page.begin(QUESTION, settings={**ENDLESS, "max_tokens": 1500})
        wait_until(lambda: has_started(page, id))
        assert server.stop() == 0
    message = page.stored(id).history[1]
    assert message.cut != "interrupted"  # but ended by its limit, or for repeating itself


def test_a_conversation_is_free_when_its_answer_has_ended(page: PageClient) -> None:
    id, _ = page.ask(QUESTION, settings={"temperature": 0})
    stored = page.stored(id)
    with page.on_disk():
        assert stored.lock()
        stored.close()
        try:
            stored.remove()
        except DslocalError as e:
            raise AssertionError("it was still held") from e
