"""The messages of a task as the family has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dslocal import prompts
from dslocal.server.exchange.tasks import SentMessage

from .requests import ServedModel


def family_messages(
    served: ServedModel, sent: Sequence[SentMessage], math: bool | None
) -> Iterator[prompts.Message]:
    """Yield the messages as the family has them.

    The outputs of tools come in the order of the calls that they answer.
    """
    call_order: dict[str, int] = {}
    outputs: list[prompts.Message] = []
    positions: list[int] = []
    for message in sent:
        if message.role == "tool":
            outputs.append(prompts.Message("tool", message.text))
            positions.append(call_order.get(message.call_id, len(call_order)))
            continue
        yield from _in_order(outputs, positions)
        outputs, positions = [], []
        if message.role == "user":
            question = prompts.compose_question(served.family, message.text, math=math)
            yield prompts.Message("user", question.text)
        elif message.role == "assistant":
            call_order = {call.id: number for number, call in enumerate(message.calls)}
            yield _assistant_message(served, message)
        else:
            yield prompts.Message(message.role, message.text, tools=message.tools)
    yield from _in_order(outputs, positions)


def _in_order(
    outputs: Sequence[prompts.Message], positions: Sequence[int]
) -> Iterator[prompts.Message]:
    for number in sorted(range(len(outputs)), key=lambda number: positions[number]):
        yield outputs[number]


def _assistant_message(served: ServedModel, sent: SentMessage) -> prompts.Message:
    """Return an answer: as the model wrote it, where it has calls and that is known."""
    calls = tuple(prompts.ToolCall(call.name, call.arguments) for call in sent.calls)
    within, text = prompts.split_reasoning(served.family, sent.text)
    reasoning = sent.reasoning or within
    sampled = None
    if calls and not sent.prefix:
        sampled = served.sampled_answers.find(replace(sent, text=text, reasoning=reasoning))
    return prompts.Message("assistant", text, reasoning, calls, prefix=sent.prefix, sampled=sampled)
