"""Turns in plain words: ``User: …`` and ``Assistant: …`` (LLM, Math, MoE, V2, Coder-V2), and
Coder's ``### Instruction:``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool

from .base import BOS, EOS

EOT = Special("<|EOT|>")
USER, ASSISTANT, BLANK_LINE = PlainText("User: "), PlainText("Assistant: "), PlainText("\n\n")
BEGIN = PlainText("Assistant:")  # what follows begins with the space


@dataclass(frozen=True)
class Plain:
    """``User: …``, a blank line, ``Assistant: …`` and the end of sentence; system text wherever it
    stands.

    ``user``, ``user_end`` and ``assistant`` stand around messages, and ``begin`` asks for an
    answer.
    """

    user: Segment = USER
    user_end: Segment = BLANK_LINE
    assistant: Segment = ASSISTANT
    begin: Segment = BEGIN
    think: None = None
    tools: None = None
    stop: tuple[Special, ...] = ()

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        segments: list[Segment] = [BOS]
        for message in messages:
            if message.role == "user":
                segments += (self.user, PlainText(message.content), self.user_end)
            elif message.role == "system":
                segments.append(PlainText(f"{message.content}\n\n"))
            else:
                segments += (self.assistant, PlainText(message.content), EOS)
        goes_on = bool(messages) and messages[-1].role == "assistant" and messages[-1].prefix
        return segments[:-1] if goes_on else [*segments, self.begin]


@dataclass(frozen=True)
class Instruction:
    """``### Instruction:`` and ``### Response:``, an answer ended by ``<|EOT|>``; ``system`` stands
    first when nothing else does.
    """

    system: str
    think: None = None
    tools: None = None
    stop: tuple[Special, ...] = (EOT,)

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        segments: list[Segment] = [BOS]
        if not any(m.role == "system" for m in messages):
            segments.append(PlainText(self.system))
        for message in messages:
            if message.role == "user":
                segments.append(PlainText(f"### Instruction:\n{message.content}\n"))
            elif message.role == "system":
                segments.append(PlainText(message.content))
            elif message.prefix and message is messages[-1]:
                return [*segments, PlainText(f"### Response:\n{message.content}")]
            else:
                segments += (PlainText(f"### Response:\n{message.content}\n"), EOT, PlainText("\n"))
        return [*segments, PlainText("### Response:\n")]


@dataclass(frozen=True)
class Completion:
    """A base model: the text as it is, and it goes on."""

    think: None = None
    tools: None = None
    stop: tuple[Special, ...] = ()

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        return [BOS, PlainText("\n\n".join(m.content for m in messages if m.content))]
