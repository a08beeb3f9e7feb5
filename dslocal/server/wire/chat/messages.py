"""The messages of a chat request, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal.prompts import Tool
from dslocal.server.exchange.tasks import PARAGRAPH, Role, SentCall, SentMessage
from dslocal.server.wire.errors import ApiError

from .schemas import ChatMessage, ContentPart
from .tools import read_tools

USABLE_PARTS = ("text", "input_text", "output_text", "refusal")
REASONING_PARTS = ("thinking", "reasoning", "redacted_thinking")
DECLARING = ("system", "developer")  # roles whose messages may declare tools
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "latest_reminder": "latest_reminder",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def sent_messages(sent: Sequence[ChatMessage]) -> Iterator[SentMessage]:
    """Yield the messages.

    Raises:
        ApiError: 400 for what the model cannot read, 422 for a part without its text.
    """
    _check_prefixes(sent)
    for place, message in enumerate(sent):
        tools = _declared_tools(message, f"messages.{place}.tools")
        # OpenAI's developer gives instructions; the developer of DeepSeek's encoders, who declares
        # tools, asks
        is_asking = message.role == "developer" and bool(tools)
        yield SentMessage(
            role="developer" if is_asking else ROLES[message.role],
            text=_text(message, place),
            reasoning=message.reasoning_content or message.reasoning or "",
            calls=tuple(_calls(message)),
            call_id=message.tool_call_id or "",
            tools=tools,
            prefix=bool(message.prefix),
        )


def unsupported_part(where: str, kind: str) -> ApiError:
    """Return the error for a part of a message that is not text."""
    return ApiError(
        400,
        f"{where}: the model reads only text; a part of type {kind[:40]!r} cannot be used",
        code="unsupported_content",
        param=where,
    )


def _check_prefixes(sent: Sequence[ChatMessage]) -> None:
    """Refuse ``prefix`` on any message but the last, which must be the assistant's."""
    last = len(sent) - 1
    for number, message in enumerate(sent):
        if message.prefix and (message.role != "assistant" or number < last):
            raise ApiError(
                400,
                "only the last message can have prefix, and it must be an assistant's",
                param=f"messages.{number}.prefix",
            )


def _declared_tools(message: ChatMessage, where: str) -> tuple[Tool, ...]:
    """Return the tools that a message declares.

    Raises:
        ApiError: 400 if messages of this role declare none.
    """
    if message.tools and message.role not in DECLARING:
        raise ApiError(
            400, f"{where}: only a system or developer message can have tools", param=where
        )
    return tuple(offered.tool for offered in read_tools(message.tools or [], where))


def _text(message: ChatMessage, place: int) -> str:
    """Return the text of a message.

    Raises:
        ApiError: 400 for parts that are not text.
    """
    if not isinstance(message.content, list):
        return message.content or ""
    texts = [
        part_text(part, f"messages.{place}.content.{number}")
        for number, part in enumerate(message.content)
        if not isinstance(part, ContentPart) or part.type not in REASONING_PARTS
    ]
    return PARAGRAPH.join(texts)


def part_text(part: ContentPart | str, where: str) -> str:
    """Return the text of a part of a message.

    Raises:
        ApiError: 400 for a part that is not text, 422 for one that lacks its text.
    """
    if isinstance(part, str):
        return part
    text = part.refusal if part.type == "refusal" else part.text
    if part.type in USABLE_PARTS and text is not None:
        return text
    if part.type in USABLE_PARTS:
        raise ApiError(422, f"{where}: a part of type {part.type!r} has text", param=where)
    raise unsupported_part(where, part.type)


def _calls(message: ChatMessage) -> Iterator[SentCall]:
    for call in message.tool_calls or []:
        yield SentCall(call.id, call.function.name, call.function.arguments)
    if message.function_call is not None:
        yield SentCall("", message.function_call.name, message.function_call.arguments)
