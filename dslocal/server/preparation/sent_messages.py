"""Translate the messages of a task into those of the family."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dslocal import prompts
from dslocal.server.exchange.tasks import SentCall, SentMessage

from .requests import ServedModel


def family_messages(
    served: ServedModel, sent: Sequence[SentMessage], math: bool | None
) -> Iterator[prompts.Message]:
    """Yield the messages as the family has them.

    The results of tools come in the order of the calls that they answer.
    """
    calls: Sequence[SentCall] = ()
    results: list[SentMessage] = []
    for message in sent:
        if message.role == "tool":
            results.append(message)
            continue
        yield from _in_order(results, calls)
        results = []
        if message.role == "user":
            question = prompts.compose_question(served.family, message.text, math=math)
            yield prompts.Message("user", question.text)
        elif message.role == "assistant":
            calls = message.calls
            yield _assistant_message(served, message)
        else:
            yield prompts.Message(message.role, message.text, tools=message.tools)
    yield from _in_order(results, calls)


def _in_order(
    results: Sequence[SentMessage], calls: Sequence[SentCall]
) -> Iterator[prompts.Message]:
    """Yield ``results`` in the order of ``calls``, then those that are left over.

    A result belongs to the call that it names, else to the first call of its tool, else to the
    first one; a call has one result.
    """
    open_calls = _OpenCalls(calls)
    places: dict[int, int] = {}  # of the calls, by the number of the result
    for take in (open_calls.take_by_id, open_calls.take_by_name, open_calls.take_first):
        for number, result in enumerate(results):
            place = take(result) if number not in places else None
            if place is not None:
                places[number] = place
    for number in sorted(range(len(results)), key=lambda number: places.get(number, len(calls))):
        yield prompts.Message("tool", results[number].text)


class _OpenCalls:
    """The calls of an answer that have no result yet. What is taken is the place of one of them."""

    def __init__(self, calls: Sequence[SentCall]) -> None:
        self._taken: set[int] = set()
        self._all = deque(range(len(calls)))
        self._by_id: dict[str, deque[int]] = {}
        self._by_name: dict[str, deque[int]] = {}
        for place, call in enumerate(calls):
            self._by_name.setdefault(call.name, deque()).append(place)
            if call.id:
                self._by_id.setdefault(call.id, deque()).append(place)

    def take_by_id(self, result: SentMessage) -> int | None:
        """Take the call that ``result`` names."""
        return self._take(self._by_id.get(result.call_id))

    def take_by_name(self, result: SentMessage) -> int | None:
        """Take the first call of the tool that ``result`` names."""
        return self._take(self._by_name.get(result.tool_name))

    def take_first(self, result: SentMessage) -> int | None:
        """Take the first call."""
        return self._take(self._all)

    def _take(self, places: deque[int] | None) -> int | None:
        while places:
            place = places.popleft()
            if place not in self._taken:
                self._taken.add(place)
                return place
        return None


def _assistant_message(served: ServedModel, sent: SentMessage) -> prompts.Message:
    """Return an answer: as the model wrote it, where it has calls and that is known."""
    calls = tuple(prompts.ToolCall(call.name, call.arguments) for call in sent.calls)
    within, text = prompts.split_reasoning(served.family, sent.text)
    reasoning = sent.reasoning or within
    sampled = None
    if calls and not sent.prefix:
        sampled = served.sampled_answers.find(replace(sent, text=text, reasoning=reasoning))
    return prompts.Message("assistant", text, reasoning, calls, prefix=sent.prefix, sampled=sampled)
