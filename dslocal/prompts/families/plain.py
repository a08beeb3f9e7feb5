"""Turns in plain words, and texts without turns.

``User: …`` and ``Assistant: …`` (LLM, Math, MoE, V2, Coder-V2), Coder's ``### Instruction:``, and
base models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool

from .base import BOS, EOS

EOT = Special("<|EOT|>")
USER = PlainText("User: ")
ASSISTANT = PlainText("Assistant: ")
BLANK_LINE = PlainText("\n\n")
BEGIN = PlainText("Assistant:")  # the answer begins with the space


@dataclass(frozen=True)
class Plain:
    """``User: …``, a blank line, ``Assistant: …`` and EOS; system text wherever it stands.

    Attributes:
        user: What stands before a user message.
        user_end: What stands after it.
        assistant: What stands before an answer.
        begin: What asks for an answer.
        think: None, because the family does not reason.
        tools: None, because the family has no tool calls.
        stop: Tokens that end an answer, besides the GGUF's own.
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
        """Return the prompt for the answer that follows ``messages``."""
        segments: list[Segment] = [BOS]
        for message in messages:
            if message.role == "user":
                segments += (self.user, PlainText(message.content), self.user_end)
            elif message.role == "system":
                segments.append(PlainText(f"{message.content}\n\n"))
            else:
                segments += (self.assistant, PlainText(message.content), EOS)
        if messages and messages[-1].role == "assistant" and messages[-1].prefix:
            return segments[:-1]  # without EOS
        return [*segments, self.begin]


@dataclass(frozen=True)
class Instruction:
    """``### Instruction:`` and ``### Response:``, an answer ended by ``<|EOT|>``.

    Attributes:
        system: The system text unless a conversation has its own.
        think: None, because the family does not reason.
        tools: None, because the family has no tool calls.
        stop: Tokens that end an answer, besides the GGUF's own.
    """

    system: str
    think: None = None
    tools: None = None
    stop: tuple[Special, ...] = (EOT,)

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        """Return the prompt for the answer that follows ``messages``."""
        segments: list[Segment] = [BOS]
        if not any(message.role == "system" for message in messages):
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
    """A base model: the text as it is, which it completes."""

    think: None = None
    tools: None = None
    stop: tuple[Special, ...] = ()

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        """Return the texts of ``messages``, with a blank line between them."""
        return [BOS, PlainText("\n\n".join(m.content for m in messages if m.content))]
