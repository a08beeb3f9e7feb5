"""The messages of a request as the family has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal import prompts
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import ChatMessage, ContentPart

USABLE_PARTS = ("text", "input_text", "output_text", "refusal")
REASONING_PARTS = ("thinking", "reasoning", "redacted_thinking")


def family_messages(
    family: prompts.Family, sent: Sequence[ChatMessage], math: bool | None
) -> Iterator[prompts.Message]:
    """Yield the messages as the family has them.

    The outputs of tools come in the order of the calls that they answer.

    Raises:
        ApiError: 400 for what the model cannot read.
    """
    _check_prefixes(sent)
    call_order: dict[str, int] = {}
    outputs: list[prompts.Message] = []
    positions: list[int] = []
    for place, message in enumerate(sent):
        text = _text(message, place)
        if message.role in ("tool", "function"):
            outputs.append(prompts.Message("tool", text))
            positions.append(call_order.get(message.tool_call_id or "", len(call_order)))
            continue
        yield from _in_order(outputs, positions)
        outputs, positions = [], []
        if message.role == "user":
            yield prompts.Message("user", prompts.compose_question(family, text, math=math).text)
        elif message.role == "assistant":
            calls = message.tool_calls or []
            call_order = {call.id: number for number, call in enumerate(calls)}
            yield _assistant_message(family, message, text)
        else:
            yield prompts.Message("system", text)
    yield from _in_order(outputs, positions)


def _check_prefixes(sent: Sequence[ChatMessage]) -> None:
    """Refuse ``prefix`` on any message but the last, which must be the assistant's."""
    last = len(sent) - 1
    for number, message in enumerate(sent):
        if message.prefix and (message.role != "assistant" or number < last):
            raise ApiError(
                400,
                "prefix is for the last message, an assistant's",
                param=f"messages.{number}.prefix",
            )


def _in_order(
    outputs: Sequence[prompts.Message], positions: Sequence[int]
) -> Iterator[prompts.Message]:
    for number in sorted(range(len(outputs)), key=lambda number: positions[number]):
        yield outputs[number]


def _text(message: ChatMessage, place: int) -> str:
    """Return the text of a message.

    Raises:
        ApiError: 400 for parts that are not text.
    """
    if not isinstance(message.content, list):
        return message.content or ""
    texts = [
        _part_text(part, f"messages.{place}.content.{number}")
        for number, part in enumerate(message.content)
        if not isinstance(part, ContentPart) or part.type not in REASONING_PARTS
    ]
    return "\n\n".join(texts)


def _part_text(part: ContentPart | str, where: str) -> str:
    if isinstance(part, str):
        return part
    text = part.refusal if part.type == "refusal" else part.text
    if part.type in USABLE_PARTS and text is not None:
        return text
    if part.type in USABLE_PARTS:
        raise ApiError(422, f"{where}: a part of type {part.type!r} has text", param=where)
    raise ApiError(
        400,
        f"{where}: the model reads text alone; a part of type {part.type[:40]!r} cannot be used",
        code="unsupported_content",
        param=where,
    )


def _assistant_message(family: prompts.Family, message: ChatMessage, text: str) -> prompts.Message:
    sent_calls = [call.function for call in message.tool_calls or []]
    if message.function_call is not None:
        sent_calls.append(message.function_call)
    calls = tuple(prompts.ToolCall(call.name, call.arguments) for call in sent_calls)
    reasoning = message.reasoning_content or message.reasoning or ""
    within, text = prompts.split_reasoning(family, text)
    return prompts.Message(
        "assistant", text, reasoning or within, calls, prefix=bool(message.prefix)
    )
