"""An answer that is being generated, for any number of pages that show it.

A page that connects late, or again after a reload, gets the answer so far, then what follows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from dslocal import chat, output, prompts
from dslocal.output.reasoning import Reasoning, Reclassified, Text
from dslocal.output.tool_calls import ToolCallArguments, ToolCallStarted
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent
from dslocal.server.wire.errors import ApiError

from .conversation_json import message_json
from .turns import Beginning

State = Literal["loading", "waiting", "reading", "reasoning", "answering", "done"]
FRAME_S = 0.03  # in which what comes is collected, so that a page is not sent every token alone


class _Position(NamedTuple):
    """How far a page has followed an answer.

    Attributes:
        epoch: How often something other than an addition had happened.
        reasoning: How many pieces of reasoning had come.
        text: How many pieces of text had come.
        prompt: Tokens of the prompt that were evaluated, and their number.
    """

    epoch: int
    reasoning: int
    text: int
    prompt: tuple[int, int]


_NOTHING_SEEN = _Position(-1, 0, 0, (0, 0))


@dataclass
class LiveAnswer:
    """What has come of an answer so far. For the event loop's thread alone.

    Attributes:
        stored: The conversation.
        beginning: Where in it the turn begins.
        messages: The messages that stand before the turn.
        state: What is happening.
        prompt: Tokens of the prompt that are evaluated, and their number.
        trimmed_turns: Turns at the front that no longer fit the context.
        notes: What the user should know.
        error: What ended it.
        turn: The answer, once it has ended.
    """

    stored: chat.StoredConversation
    beginning: Beginning
    messages: list[prompts.Message] = field(default_factory=list)
    state: State = "loading"
    prompt: tuple[int, int] = (0, 0)
    trimmed_turns: int = 0
    notes: Sequence[str] = ()
    error: ApiError | None = None
    turn: output.Turn | None = None

    def __post_init__(self) -> None:
        self._reasoning: list[str] = []
        self._text: list[str] = []
        self._calls: list[dict[str, str]] = []
        self._epoch = 0  # counts how often something other than an addition happened
        self._reasoning_began: float | None = None
        self._reasoning_before = 0.0
        self._wakers: set[asyncio.Event] = set()
        if cut := self.beginning.cut:
            self._reasoning = [cut.reasoning]
            self._text = [cut.content]
            self._reasoning_before = cut.reasoning_s

    @property
    def is_done(self) -> bool:
        """Return whether it has ended, and is on disk."""
        return self.state == "done"

    @property
    def reasoning_s(self) -> float:
        """Return how many seconds the reasoning has taken so far."""
        if self.turn is not None:
            return self.turn.reasoning_s
        if self._reasoning_began is None:
            return self._reasoning_before
        return self._reasoning_before + time.monotonic() - self._reasoning_began

    def change(self, state: State, **facts: Any) -> None:
        """Note a new state and what belongs to it."""
        self.state = state
        for name, value in facts.items():
            setattr(self, name, value)
        self._note_change()

    def read_prompt(self, done: int, total: int) -> None:
        """Note how far the prompt is evaluated."""
        if self.state != "reading":
            self.change("reading", prompt=(done, total))
            return
        self.prompt = (done, total)
        self._wake()

    def trim(self, turns: int) -> None:
        """Note that so many turns no longer fit the context."""
        self.change(self.state, trimmed_turns=turns)

    def take(self, events: Sequence[RunEvent]) -> None:
        """Add what has happened."""
        before = self.state
        for event in events:
            if isinstance(event, AnswerEnd):
                self.turn = event.turn
            elif isinstance(event, AnswerPart):
                self._add(event.part)
        if self.state != before:
            self._epoch += 1
        self._wake()

    def snapshot(self) -> dict[str, Any]:
        """Return all that has come so far."""
        question = self.beginning.question
        return {
            "type": "snapshot",
            "first_message": self.beginning.kept,
            "question": message_json(question) if question else None,
            "state": self.state,
            "reasoning": "".join(self._reasoning),
            "reasoning_s": round(self.reasoning_s, 1),
            "text": "".join(self._text),
            "calls": self._calls,
            "prompt": self._prompt_json(),
            "trimmed_turns": self.trimmed_turns,
            "notes": list(self.notes),
            "error": self.error.body["error"] if self.error else None,
        }

    async def events(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield a snapshot, then what is added, until the answer has ended; its end is not yielded.

        How far a prompt is evaluated comes alone, since the prompt itself may be long. Another
        snapshot comes where something else happened.
        """
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            seen = _NOTHING_SEEN
            while True:
                waker.clear()
                if self.is_done:
                    return
                event = self._news(seen)
                seen = self._position()  # now: more may come while the event is sent
                if event is not None:
                    yield event
                await waker.wait()
                await asyncio.sleep(FRAME_S)
        finally:
            self._wakers.discard(waker)

    def _prompt_json(self) -> dict[str, int]:
        return {"done": self.prompt[0], "total": self.prompt[1]}

    def _position(self) -> _Position:
        return _Position(self._epoch, len(self._reasoning), len(self._text), self.prompt)

    def _news(self, seen: _Position) -> dict[str, Any] | None:
        """Return what has happened since ``seen``; None where nothing has."""
        now = self._position()
        if now.epoch != seen.epoch:
            return self.snapshot()
        if (now.reasoning, now.text) != (seen.reasoning, seen.text):
            reasoning = "".join(self._reasoning[seen.reasoning :])
            text = "".join(self._text[seen.text :])
            return {"type": "delta", "reasoning": reasoning, "text": text}
        if now.prompt != seen.prompt:
            return {"type": "progress", "prompt": self._prompt_json()}
        return None

    def _add(self, part: object) -> None:
        match part:
            case Reasoning(text):
                self._begin_reasoning()
                self._reasoning.append(text)
            case Text(text):
                self.state = "answering"
                self._end_reasoning()
                self._text.append(text)
            case Reclassified():
                self._begin_reasoning()
                self._reasoning, self._text = self._text, []
                self._epoch += 1
            case ToolCallStarted(_, name):
                self._calls.append({"name": name, "arguments": ""})
                self._epoch += 1
            case ToolCallArguments(_, text):
                self._calls[-1]["arguments"] += text

    def _begin_reasoning(self) -> None:
        self.state = "reasoning"
        if self._reasoning_began is None:
            self._reasoning_began = time.monotonic()

    def _end_reasoning(self) -> None:
        if self._reasoning_began is not None:
            self._reasoning_before = self.reasoning_s
            self._reasoning_began = None

    def _note_change(self) -> None:
        self._epoch += 1
        self._wake()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()
