"""Turns between special tokens: ``<｜User｜>…<｜Assistant｜>…``, as every DeepSeek chat model since
V2.5 writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool

from .base import BOS, EOS
from .tools import ToolFormat

USER, ASSISTANT = Special("<｜User｜>"), Special("<｜Assistant｜>")
OPEN, CLOSE = Special("<think>"), Special("</think>")
TURNS = frozenset(special.token for special in (BOS, EOS, USER, ASSISTANT))
THOUGHTS = frozenset((OPEN.token, CLOSE.token))
# the template of spring 2025, which V3.1's goes on from
REVISED = r"(?s)\A(?!.*\bthinking\b).*is_last_user"


@dataclass(frozen=True)
class Marked:
    """``folded``: a system prompt goes in front of the first user message, not before the first
    turn.

    ``begin`` is what an answer begins with in each way of thinking, ``past`` what earlier answers
    begin with, and ``closed`` what stands between a thought that is given and the answer. ``think``
    is None where the vocabulary has no such tags.
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
        system = "\n\n".join(m.content for m in messages if m.role == "system")
        if tools and self.tools:
            system = system or self.tools.system
        preamble: list[Segment] = [PlainText(system)] if system else []
        if tools and self.tools:
            preamble += ([PlainText("\n\n")] if system else []) + self.tools.declare(tools)
        segments: list[Segment] = [BOS]
        turns = [m for m in messages if m.role != "system"]
        if not self.folded or not any(m.role == "user" for m in turns):
            segments, preamble = [BOS, *preamble], []
        answering = False  # whether the next answer goes on where a tool's output ended
        for role, run in groupby(turns, key=lambda m: m.role):
            group = list(run)
            if role == "tool" and self.tools:
                segments += self.tools.outputs([m.content for m in group])
                answering = True
                continue
            for message in group:
                if role == "user":
                    segments += (
                        USER,
                        *preamble,
                        *([PlainText("\n\n")] if preamble else []),
                        PlainText(message.content),
                    )
                    preamble = []
                elif not message.prefix or message is not turns[-1]:
                    segments += () if answering else (ASSISTANT, *self.past)
                    segments += (*self._content(message), EOS)
                else:
                    segments += (
                        self._begun(message, thinking) if not answering else self._going_on(message)
                    )
                answering = False
        if turns and turns[-1].role == "assistant" and turns[-1].prefix:
            return segments
        return segments if answering else [*segments, ASSISTANT, *self.begin.get(thinking, ())]

    def _content(self, message: Message) -> list[Segment]:
        text: list[Segment] = (
            [PlainText(message.content)] if message.content or not message.calls else []
        )
        return text + (self.tools.calls(message.calls) if message.calls and self.tools else [])

    def _begun(self, message: Message, thinking: Thinking) -> list[Segment]:
        """An answer to go on with: after its thought, in the midst of it, or without one."""
        begin = self.begin.get(thinking, ())
        if message.reasoning and self.think:
            return [ASSISTANT, *self._going_on(message)]
        if not message.content:
            return [ASSISTANT, *begin]
        bypassed = begin if thinking is Thinking.BYPASSED else ()
        return [ASSISTANT, *(self.past or bypassed), PlainText(message.content)]

    def _going_on(self, message: Message) -> list[Segment]:
        """What stands of an answer to go on with, where a tool's output or ``<｜Assistant｜>`` is
        before it.
        """
        if not message.reasoning or not self.think:
            return [PlainText(message.content)]
        opened = [
            *(self.begin.get(Thinking.FORCED, ()) or (self.think[0],)),
            PlainText(message.reasoning),
        ]
        return [*opened, *self.closed, PlainText(message.content)] if message.content else opened
