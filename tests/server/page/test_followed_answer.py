"""Proves what a page that follows an answer is sent, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from dslocal import chat
from dslocal.output.reasoning import Reasoning, Reclassified, Text
from dslocal.prompts import Message
from dslocal.server.exchange.events import AnswerPart
from dslocal.server.page.live_answer import LiveAnswer
from dslocal.server.page.turns import Beginning

FILE = "line\n" * 50_000
Events = AsyncGenerator[dict[str, Any]]


def followed(steps: Sequence[Callable[[LiveAnswer], None]]) -> list[dict[str, Any]]:
    """Return the events of an answer to which ``steps`` happen, each while an event is sent."""

    async def follow() -> list[dict[str, Any]]:
        question = Message("user", FILE, typed="What is in it?")
        live = LiveAnswer(chat.new_conversation("nano"), Beginning(0, question))
        found = []
        async with aclosing(live.events()) as events:
            for step in steps:
                found.append(await anext(events))
                step(live)
            found += [event async for event in events]
        return found

    return asyncio.run(follow())


def add(*parts: Any) -> Callable[[LiveAnswer], None]:
    return lambda live: live.take([AnswerPart(0, part, sure=True) for part in parts])


def read(done: int) -> Callable[[LiveAnswer], None]:
    return lambda live: live.read_prompt(done, 100)


def end(live: LiveAnswer) -> None:
    live.change("done")


def test_progress_does_not_bring_the_question_again() -> None:
    loading, reading, *progress = followed([*map(read, (0, 20, 40, 60)), end])
    assert (loading["state"], reading["state"]) == ("loading", "reading")
    assert reading["question"]["sent"] == FILE
    assert progress == [
        {"type": "progress", "prompt": {"done": done, "total": 100}} for done in (20, 40, 60)
    ]


def test_what_comes_while_an_event_is_sent_comes_next() -> None:
    events = followed([add(Text("a")), add(Text("b")), add(Text("c"), Text("d")), end])
    assert [event["text"] for event in events] == ["", "a", "b", "cd"]
    assert [event["type"] for event in events] == ["snapshot", "snapshot", "delta", "delta"]


def test_progress_and_text_at_once_lose_neither() -> None:
    def both(live: LiveAnswer) -> None:
        read(100)(live)
        add(Reasoning("r"))(live)

    *_, last = followed([read(50), both, end])
    assert (last["type"], last["state"], last["reasoning"]) == ("snapshot", "reasoning", "r")
    assert last["prompt"] == {"done": 100, "total": 100}


def test_text_that_was_reasoning_is_sent_anew() -> None:
    *_, last = followed([add(Text("a")), add(Reclassified()), end])
    assert (last["type"], last["reasoning"], last["text"]) == ("snapshot", "a", "")
