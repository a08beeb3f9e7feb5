"""Items of a conversation as messages: what is said, reasoning, calls and their results.

An answer consists of several items. They are joined into one message, up to the next item that
belongs to no answer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dslocal.server.exchange.tasks import PARAGRAPH, SentCall, SentMessage
from dslocal.server.wire.chat.messages import ROLES, part_text
from dslocal.server.wire.chat.schemas import ContentPart
from dslocal.server.wire.errors import ApiError

from .schemas import InputItem

CALLS = ("function_call", "custom_tool_call")
RESULTS = ("function_call_output", "custom_tool_call_output")
CUSTOM_INPUT = "input"  # the only parameter of a tool that takes any text
NAMESPACE_END = "__"  # between a namespace and a tool's name in the prompt


class ToolName(NamedTuple):
    """How a client names a tool, and whether that takes any text."""

    name: str
    namespace: str = ""
    is_custom: bool = False


def prompt_name(namespace: str, name: str) -> str:
    """Return the name of a tool in the prompt, where there are no namespaces."""
    return f"{namespace}{NAMESPACE_END}{name}" if namespace else name


def sealed(reasoning: str) -> str:
    """Return reasoning for a client that keeps no text of it and sends this back instead.

    It is not encrypted: client and server are the same person's.
    """
    return base64.b64encode(reasoning.encode("utf-8", "replace")).decode("ascii")


def unsealed(content: str) -> str:
    """Return the reasoning in ``content``; nothing where somebody else sealed it."""
    try:
        return base64.b64decode(content, validate=True).decode("utf-8")
    except ValueError:  # of base64 too
        return ""


def sent_messages(items: Sequence[InputItem]) -> Iterator[SentMessage]:
    """Yield the messages that ``items`` make.

    Raises:
        ApiError: 400 for what the model cannot read, 422 for an item that lacks a field.
    """
    answer: SentMessage | None = None
    for place, item in enumerate(items):
        message = _message(item, f"input.{place}")
        if message.role == "assistant":
            answer = answer.joined(message) if answer else message
            continue
        if answer is not None:
            yield answer
            answer = None
        yield message
    if answer is not None:
        yield answer


def _message(item: InputItem, where: str) -> SentMessage:
    kind = item.type or "message"
    if kind == "message":
        if item.role is None:
            raise ApiError(422, f"{where}.role: a message has a role", param=f"{where}.role")
        return SentMessage(ROLES[item.role], _text(item.content, f"{where}.content"))
    if kind == "reasoning":
        return SentMessage("assistant", "", reasoning=_reasoning(item, where))
    if kind in CALLS:
        return SentMessage("assistant", "", calls=(_call(item, where),))
    if kind in RESULTS:
        return SentMessage(
            "tool", _text(item.output, f"{where}.output"), call_id=item.call_id or ""
        )
    raise ApiError(
        400,
        f"{where}: an item of type {kind[:40]!r} cannot be used here",
        code="unsupported_content",
        param=f"{where}.type",
    )


def _call(item: InputItem, where: str) -> SentCall:
    if not item.name:
        raise ApiError(422, f"{where}.name: a call has a name", param=f"{where}.name")
    arguments = item.arguments or "{}"
    if item.type == "custom_tool_call":
        arguments = json.dumps({CUSTOM_INPUT: item.input or ""}, ensure_ascii=False)
    return SentCall(item.call_id or "", prompt_name(item.namespace or "", item.name), arguments)


def _reasoning(item: InputItem, where: str) -> str:
    """Return the text of a reasoning item, from wherever the client kept it."""
    if item.content:
        parts = [] if isinstance(item.content, str) else item.content
        found = PARAGRAPH.join(part.text for part in parts if part.text)
        if found:
            return found
    return unsealed(item.encrypted_content or "")


def _text(content: str | Sequence[ContentPart] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part_text(part, f"{where}.{place}") for place, part in enumerate(content)]
    return PARAGRAPH.join(texts)
