"""The calibration text: what a model evaluates while its activations are measured.

Its conversations were written for this project, as examples of what a model is used for. They are
rendered in the family's own prompt format with special tokens, because these are routed to experts
of their own; in V4, their ids alone decide that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dslocal.home.paths import bundled
from dslocal.prompts import (
    Family,
    Message,
    PlainText,
    Segment,
    Thinking,
    Tool,
    ToolCall,
    encode,
    read_file,
)
from dslocal.prompts.messages import Vocabulary


@dataclass(frozen=True)
class ShippedText:
    """Conversations that ship: the file, and what they are called."""

    file: str
    title: str


CALIBRATION = ShippedText("conversations.yaml", "dslocal's calibration text")
# a text that importance matrices are not made with, so that it can be used to judge them
HELD_OUT = ShippedText("held_out.yaml", "dslocal's held-out text")


def calibration_ids(
    family: Family,
    vocabulary: Vocabulary,
    end_token: int | None,
    text: ShippedText = CALIBRATION,
) -> list[int]:
    """Return the token ids of all conversations, one after the other.

    Args:
        family: How they are prompted.
        vocabulary: The model's vocabulary.
        end_token: What ends an answer; None for nothing.
        text: Which conversations.

    Raises:
        UnsupportedModelError: The vocabulary lacks a token of the family's prompts.
    """
    ids: list[int] = []
    for conversation in _conversations(text):
        ids += encode(_rendered(conversation, family), vocabulary)
        ids += [] if end_token is None else [end_token]
    return ids


def text_ids(
    files: Sequence[Path], tokenize: Callable[[str], list[int]], bos: int | None
) -> list[int]:
    """Return the token ids of files as plain text, one after the other, as llama.cpp's tools do.

    Args:
        files: The files.
        tokenize: Returns the ids of a text.
        bos: What the whole begins with; None for nothing.

    Raises:
        NotFoundError: A file does not exist.
        UsageError: A file is not text.
    """
    ids = [] if bos is None else [bos]
    for file in files:
        ids += tokenize(read_file(file).text)
    return ids


def _conversations(text: ShippedText) -> Sequence[Mapping[str, Any]]:
    content = (bundled("calibration") / text.file).read_text(encoding="utf-8")
    conversations: Sequence[Mapping[str, Any]] = yaml.safe_load(content)
    return conversations


def _rendered(conversation: Mapping[str, Any], family: Family) -> list[Segment]:
    """Return one conversation with its last answer, as the model would have seen it."""
    has_tools = family.format.tools is not None
    tools = [Tool(**tool) for tool in conversation.get("tools", ())] if has_tools else []
    messages = [
        message
        for turn in conversation["turns"]
        for message in (_messages(turn) if has_tools else _without_calls(_messages(turn)))
    ]
    *asked, answer = messages
    if family.is_base:
        texts = [Message("user", m.content) for m in messages]
        return family.render(texts)
    thinking = _thinking(family, has_reasoning=bool(answer.reasoning))
    segments = family.render(asked, thinking, tools)
    return [*segments, *_reasoning(answer, thinking, family), PlainText(answer.content)]


def _messages(turn: Mapping[str, Any]) -> Iterator[Message]:
    """Yield the messages of one entry: a question, an answer, or calls with their results."""
    for role in ("system", "user"):
        if role in turn:
            yield Message(role, turn[role].strip())
    if "calls" in turn:
        calls = tuple(ToolCall(call["name"], call["arguments"]) for call in turn["calls"])
        yield Message("assistant", turn.get("before", ""), calls=calls)
        for call in turn["calls"]:
            yield Message("tool", call["result"].strip())
    if "assistant" in turn:
        reasoning = turn.get("reasoning", "").strip()
        yield Message("assistant", turn["assistant"].strip(), reasoning)


def _without_calls(messages: Iterator[Message]) -> Iterator[Message]:
    """Yield the same for a family without tool calls: calls and results as text."""
    for message in messages:
        if message.calls:
            text = "\n".join(f"{call.name} {call.arguments}" for call in message.calls)
            yield Message("assistant", f"{message.content}\n{text}".strip())
        elif message.role == "tool":
            yield Message("user", message.content)
        else:
            yield message


def _thinking(family: Family, *, has_reasoning: bool) -> Thinking:
    """Return how the last answer begins: with reasoning where it has some."""
    wanted = Thinking.FORCED if has_reasoning else Thinking.BYPASSED
    return wanted if wanted in family.thinking_modes else family.default_thinking


def _reasoning(answer: Message, thinking: Thinking, family: Family) -> list[Segment]:
    """Return the reasoning of an answer with the tags that the prompt has not written yet."""
    if family.format.think is None or thinking in (Thinking.NONE, Thinking.BYPASSED):
        return []
    opened, closed = family.format.think
    begin: list[Segment] = [opened] if thinking is Thinking.FREE else []
    return [*begin, PlainText(f"\n{answer.reasoning}\n"), closed, PlainText("\n\n")]
