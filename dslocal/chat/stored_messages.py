"""Messages and partial answers as JSON in the file of a conversation.

What is read is not trusted before it is checked. Does not know files or conversations.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dslocal.prompts.messages import Message, Thinking, ToolCall

from .running_answer import PartialAnswer

MAX_TOKENS = 1 << 20
MAX_SECONDS = 1e9  # of reasoning
ROLES = ("system", "user", "assistant", "tool")
CUTS = ("", "interrupted", "length")


def partial_fields(partial: PartialAnswer) -> dict[str, Any]:
    """Return the fields of a partial answer that are written."""
    return {
        "ids": partial.ids,
        "seed": partial.seed,
        "thinking": partial.thinking.value if partial.thinking else "",
    }


def read_partial(fields: dict[str, Any]) -> PartialAnswer:
    """Return the partial answer that ``fields`` describe; raises as :func:`read_message`."""
    ids = fields["ids"]
    seed = fields["seed"]
    thinking = fields["thinking"]
    if len(ids) > MAX_TOKENS or not all(type(id) is int and 0 <= id < 1 << 31 for id in ids):
        raise ValueError("ids")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ValueError(seed)
    return PartialAnswer(tuple(ids), seed, Thinking(thinking) if thinking else None)


def message_fields(message: Message) -> dict[str, Any]:
    """Return the fields of ``message`` that are written; most are left out where empty."""
    return {
        name: value
        for name, value in asdict(message).items()
        if value or name in ("role", "content")
    }


def read_message(fields: dict[str, Any]) -> Message:
    """Return the message that ``fields`` describe.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: If they make no sense.
    """
    texts = {name: fields.get(name, "") for name in ("reasoning", "typed", "cut")}
    texts["content"] = fields["content"]
    calls = tuple(ToolCall(call["name"], call["arguments"]) for call in fields.get("calls", ()))
    every = list(texts.values())
    for call in calls:
        every += (call.name, call.arguments)
    if not all(isinstance(text, str) for text in every):
        raise ValueError("texts")
    if fields["role"] not in ROLES or texts["cut"] not in CUTS:
        raise ValueError(fields["role"])
    seconds = float(fields.get("reasoning_s", 0.0))
    if not 0 <= seconds < MAX_SECONDS:
        raise ValueError(seconds)
    return Message(fields["role"], calls=calls, reasoning_s=seconds, **texts)
