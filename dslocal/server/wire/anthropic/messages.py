"""The messages of a Messages request, as text.

A message is a list of blocks. The results of tools come as blocks of a user's message, before what
the user says; adjacent messages of one role are one turn. A system message within the conversation
is a part of the user's turn: most families write system messages first, and what comes first must
stay the same for the cache to hold what follows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dslocal.server.exchange.tasks import PARAGRAPH, SentCall, SentMessage
from dslocal.server.wire.chat.messages import unsupported_part
from dslocal.server.wire.errors import ApiError

from .schemas import AnthropicMessage, ContentBlock

# Claude Code begins its system prompt with a block for Anthropic's accounts, which is another one
# in every request: as a part of the prompt it would keep all that follows out of the cache.
BILLING = "x-anthropic-billing-header:"
# As Claude Code itself writes what the system says where it may not send a system message.
REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def system_message(system: str | Sequence[ContentBlock] | None) -> Iterator[SentMessage]:
    """Yield the system prompt, if there is any.

    Raises:
        ApiError: 400 for a block that is not text.
    """
    if not system:
        return
    if isinstance(system, str):
        yield SentMessage("system", system)
        return
    texts = [_block_text(block, f"system.{place}") for place, block in enumerate(system)]
    kept = [text for text in texts if text and not text.startswith(BILLING)]
    if kept:
        yield SentMessage("system", PARAGRAPH.join(kept))


def sent_messages(sent: Sequence[AnthropicMessage]) -> Iterator[SentMessage]:
    """Yield the messages; an assistant's message at the end is the beginning of the answer.

    Raises:
        ApiError: 400 for what the model cannot read, 422 for a block that lacks a field.
    """
    held: SentMessage | None = None
    for place, message in enumerate(sent):
        for found in _messages(message, f"messages.{place}"):
            if held is not None and held.role == found.role and found.role != "tool":
                held = held.joined(found)
                continue
            if held is not None:
                yield held
            held = found
    if held is None:
        return
    if held.role != "assistant":
        yield held
    elif held.calls:
        raise ApiError(
            400,
            "messages: the last message calls a tool, and its result must follow",
            param="messages",
        )
    else:
        yield replace(held, prefix=True)


def _messages(message: AnthropicMessage, where: str) -> Iterator[SentMessage]:
    if message.role == "system":
        text = _nested_text(message.content, f"{where}.content")
        yield SentMessage("user", REMINDER.format(text))
    elif isinstance(message.content, str):
        yield SentMessage(message.role, message.content)
    elif message.role == "assistant":
        yield _answer(message.content, f"{where}.content")
    else:
        yield from _question(message.content, f"{where}.content")


def _question(blocks: Sequence[ContentBlock], where: str) -> Iterator[SentMessage]:
    """Yield the results of tools, and what is said beside them."""
    texts: list[str] = []
    has_results = False
    for place, block in enumerate(blocks):
        if block.type != "tool_result":
            texts.append(_block_text(block, f"{where}.{place}"))
            continue
        has_results = True
        text = _nested_text(block.content, f"{where}.{place}.content")
        yield SentMessage("tool", text, call_id=block.tool_use_id or "")
    if texts or not has_results:
        yield SentMessage("user", PARAGRAPH.join(texts))


def _answer(blocks: Sequence[ContentBlock], where: str) -> SentMessage:
    """Return an earlier answer: reasoning, text and calls. Signatures are not checked."""
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[SentCall] = []
    for place, block in enumerate(blocks):
        if block.type == "thinking":
            reasoning.append(block.thinking or "")
        elif block.type == "tool_use":
            calls.append(_call(block, f"{where}.{place}"))
        elif block.type != "redacted_thinking":
            texts.append(_block_text(block, f"{where}.{place}"))
    return SentMessage("assistant", PARAGRAPH.join(texts), PARAGRAPH.join(reasoning), tuple(calls))


def _call(block: ContentBlock, where: str) -> SentCall:
    if not block.name:
        raise ApiError(422, f"{where}.name: a tool_use block has a name", param=f"{where}.name")
    arguments = json.dumps(block.input or {}, ensure_ascii=False)
    return SentCall(block.id or "", block.name, arguments)


def _nested_text(content: str | Sequence[ContentBlock] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = [_block_text(block, f"{where}.{place}") for place, block in enumerate(content)]
    return PARAGRAPH.join(texts)


def _block_text(block: ContentBlock, where: str) -> str:
    """Return the text of a block.

    Raises:
        ApiError: 400 for a block that the model cannot read, 422 for a text block without text.
    """
    if block.type == "text":
        if block.text is None:
            raise ApiError(422, f"{where}.text: a text block has text", param=f"{where}.text")
        return block.text
    if block.type == "document" and isinstance(block.source, dict):
        data = block.source.get("data")
        if block.source.get("type") == "text" and isinstance(data, str):
            return f"{block.title}{PARAGRAPH}{data}" if block.title else data
    if block.type == "search_result":
        found = _nested_text(block.content, f"{where}.content")
        source = block.source if isinstance(block.source, str) else ""
        return PARAGRAPH.join(text for text in (block.title, source, found) if text)
    raise unsupported_part(where, block.type)
