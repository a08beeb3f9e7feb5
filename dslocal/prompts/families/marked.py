"""Turns between special tokens: ``<｜User｜>…<｜Assistant｜>…``.

Every DeepSeek chat model since V2.5 writes them like this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool

from .base import BOS, EOS
from .tools import ToolFormat

USER = Special("<｜User｜>")
ASSISTANT = Special("<｜Assistant｜>")
OPEN = Special("<think>")
CLOSE = Special("</think>")
TURNS = frozenset(special.token for special in (BOS, EOS, USER, ASSISTANT))
REASONING_TAGS = frozenset((OPEN.token, CLOSE.token))
# the chat template of spring 2025, which V3.1's continues
REVISED = r"(?s)\A(?!.*\bthinking\b).*is_last_user"
BLANK_LINE = PlainText("\n\n")


@dataclass(frozen=True)
class Marked:
    """Turns between special tokens.

    Attributes:
        folded: Whether a system prompt goes in front of the first user message, and not before the
            first turn.
        begin: What an answer begins with in each way of thinking.
        past: What earlier answers begin with.
        closed: What stands between the reasoning of an answer and its text.
        think: The tags around the reasoning; None where the vocabulary has none.
        tools: How tool calls are written; None where the family has none.
        stop: Tokens that end an answer, besides the GGUF's own.
    """

    folded: bool = False
    begin: Mapping[Thinking, tuple[Segment, ...]] = field(default_factory=dict)
    past: tuple[Segment, ...] = ()
    closed: tuple[Segment, ...] = ()
    think: tuple[Special, Special] | None = None
    tools: ToolFormat | None = None
    stop: tuple[Special, ...] = (USER,)

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        """Return the prompt for the answer that follows ``messages``."""
        preamble = self._preamble(messages, tools)
        turns = [message for message in messages if message.role != "system"]
        partial = None
        if turns and turns[-1].role == "assistant" and turns[-1].prefix:
            partial = turns.pop()
        if self.folded and any(message.role == "user" for message in turns):
            writer = _TurnWriter(self, thinking, [BOS], preamble)
        else:
            writer = _TurnWriter(self, thinking, [BOS, *preamble], [])
        for role, group in groupby(turns, key=lambda message: message.role):
            match role:
                case "user":
                    writer.add_questions(group)
                case "tool":
                    writer.add_results(group)
                case _:
                    writer.add_answers(group)
        if partial:
            writer.begin_partial(partial)
        else:
            writer.begin_answer()
        return writer.segments

    def _preamble(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Segment]:
        """Return the system prompt and the declaration of tools."""
        system = "\n\n".join(m.content for m in messages if m.role == "system")
        if not tools or not self.tools:
            return [PlainText(system)] if system else []
        declared = self.tools.declare(tools)
        system = system or self.tools.system
        return [PlainText(system), BLANK_LINE, *declared] if system else declared


@dataclass
class _TurnWriter:
    """Writes one turn after the other.

    Attributes:
        format: How messages are written.
        thinking: How the answer begins that is asked for.
        segments: The prompt so far.
        preamble: What goes in front of the next user message.
        after_results: Whether the next answer continues where a tool's results end.
    """

    format: Marked
    thinking: Thinking
    segments: list[Segment]
    preamble: list[Segment]
    after_results: bool = False

    def add_questions(self, messages: Iterable[Message]) -> None:
        """Write what the user says."""
        for message in messages:
            self.segments.append(USER)
            if self.preamble:
                self.segments += (*self.preamble, BLANK_LINE)
                self.preamble = []
            self.segments.append(PlainText(message.content))
            self.after_results = False

    def add_results(self, messages: Iterable[Message]) -> None:
        """Write the results of all calls of one answer."""
        if self.format.tools:
            self.segments += self.format.tools.outputs([message.content for message in messages])
            self.after_results = True

    def add_answers(self, messages: Iterable[Message]) -> None:
        """Write whole answers, without their reasoning."""
        for message in messages:
            if not self.after_results:
                self.segments += (ASSISTANT, *self.format.past)
            if message.sampled:
                self.segments.append(message.sampled.answer)
            else:
                self._write_answer(message)
            self.segments.append(EOS)
            self.after_results = False

    def _write_answer(self, message: Message) -> None:
        if message.content or not message.calls:
            self.segments.append(PlainText(message.content))
        if message.calls and self.format.tools:
            self.segments += self.format.tools.calls(message.calls)

    def begin_answer(self) -> None:
        """Ask for an answer."""
        if not self.after_results:
            self.segments += (ASSISTANT, *self._begin)

    def begin_partial(self, message: Message) -> None:
        """Ask for the rest of an answer: after its reasoning, within it, or without any."""
        if not self.after_results:
            self.segments.append(ASSISTANT)
        if (message.reasoning and self.format.think) or self.after_results:
            self._write_partial(message)
        elif not message.content:
            self.segments += self._begin
        else:
            bypassed = self._begin if self.thinking is Thinking.BYPASSED else ()
            self.segments += (*(self.format.past or bypassed), PlainText(message.content))

    @property
    def _begin(self) -> tuple[Segment, ...]:
        return self.format.begin.get(self.thinking, ())

    def _write_partial(self, message: Message) -> None:
        """Write the reasoning and the text of an answer, as far as it came."""
        if message.reasoning and self.format.think:
            opening = self.format.begin.get(Thinking.FORCED) or (self.format.think[0],)
            self.segments += (*opening, PlainText(message.reasoning))
            if not message.content:
                return
            self.segments += self.format.closed
        self.segments.append(PlainText(message.content))
