"""A conversation with DeepSeek's own API, which takes messages and returns text.

History, storage and what is shown are those of any session. What depends on tokens is refused
before anything is sent: schemas and grammars, logprobs, a budget of reasoning, settings that the
API lacks.
Source: api-docs.deepseek.com, "Create Chat Completion", "Thinking Mode", "Chat Prefix Completion".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dslocal.errors import RemoteEngineError, UsageError
from dslocal.output import Reasoning, Text, ToolCallArguments, ToolCallStarted, Turn
from dslocal.output.reasoning import AnswerEvent
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Message, Thinking, Tool
from dslocal.prompts.settings import Settings
from dslocal.types import FinishReason, Timings

from .running_answer import RunningAnswer
from .session import CONTINUE_HINT, Event, Session

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.engine.remote.messages import MessageContext

# settings that the API has no field for
LACKING = ("top_k", "min_p", "repeat_penalty", "logit_bias", "think_budget")
MODES = {Thinking.FORCED: "enabled", Thinking.BYPASSED: "disabled"}
FINISH = {"stop": FinishReason.STOP, "tool_calls": FinishReason.STOP, "length": FinishReason.LENGTH}
MAX_CALLS = 128


def open_session(
    context: EngineContext,
    family: Family,
    settings: Settings,
    system: str = "",
    thinking: Thinking | None = None,
    tools: Sequence[Tool] = (),
) -> Session:
    """Return a conversation at ``context``: with tokens, or with messages where it takes those.

    Raises:
        UsageError: With these settings every question would fail there.
    """
    from dslocal.engine.remote.messages import MessageContext

    kind = MessageSession if isinstance(context, MessageContext) else Session
    session = kind(context, family, settings, system, thinking, tools)
    session.require_possible(settings)
    return session


class MessageSession(Session):
    """A conversation with DeepSeek's own API; see :class:`.Session`."""

    def require_possible(self, settings: Settings) -> None:
        """Refuse settings that the API has no field for.

        Raises:
            UsageError: One of them is set.
        """
        extras = settings.extras()
        _refuse_lacking([name for name in LACKING if name in extras])

    def certain_ids(self) -> list[int]:
        """Return nothing: the API shows no tokens."""
        return []

    def stream(
        self,
        text: str,
        seed: int,
        *,
        typed: str = "",
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> Generator[Event]:
        """Ask ``text``, yield events as they come, and leave the answer in ``turn``.

        Arguments and errors are those of :meth:`.Session.stream`; the seed has no effect.
        """
        from dslocal.engine.remote.messages import CHAT_PATH

        question = Message("user", text, typed="" if typed == text else typed)
        messages = [*self.history, question]
        body = self._body(messages)
        turn = self.turn = self._new_turn(seed)
        self.running = RunningAnswer(turn, messages, self.thinking)
        try:
            yield from self._answer(turn, CHAT_PATH, body)
        finally:
            self._keep()

    def continue_answer(
        self, *, on_prefill: Callable[[int, int], None] | None = None
    ) -> Generator[Event]:
        """Continue the last answer, which was cut, from its text."""
        from dslocal.engine.remote.messages import CONTINUE_PATH

        if not self.is_unfinished:
            reason = "the last answer is whole" if self.history else "nothing has been asked yet"
            raise UsageError(reason, hint=CONTINUE_HINT)
        cut, history = self.history[-1], self.history[:-1]
        if cut.calls:
            raise UsageError("an answer that calls tools cannot be continued over DeepSeek's API")
        body = self._body(history)
        body["messages"].append({"role": "assistant", "content": cut.content, "prefix": True})
        if cut.reasoning:
            body["messages"][-1]["reasoning_content"] = cut.reasoning
        turn = self.turn = self._new_turn(1)
        self.running = RunningAnswer(turn, history, self.thinking, continued=cut)
        try:
            yield from self._answer(turn, CONTINUE_PATH, body)
        finally:
            self._keep()

    def _answer(self, turn: Turn, path: str, body: dict[str, Any]) -> Iterator[AnswerEvent]:
        began = time.perf_counter()
        turn.timings = Timings()
        turn.finish_reason = FinishReason.INTERRUPTED
        reader = _DeltaReader(turn, self._api.address.url)
        for event in self._api.stream(path, body):
            for part in reader.read(event):
                if not turn.timings.ttft:
                    turn.timings.ttft = turn.timings.prefill = time.perf_counter() - began
                yield part
            turn.timings.decode = time.perf_counter() - began - turn.timings.ttft

    @property
    def _api(self) -> MessageContext:
        from dslocal.engine.remote.messages import MessageContext

        if not isinstance(self.context, MessageContext):
            raise TypeError(type(self.context))
        return self.context

    def _body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the request for what follows ``messages``.

        Raises:
            UsageError: Something was decided that the API cannot do.
        """
        if self.constraint is not None:
            self._api.grammar(self.constraint.grammar, self.constraint.made_from)
        settings = self.settings
        self.require_possible(settings)
        if self.top_logprobs is not None:
            _refuse_lacking(["logprobs"])
        extras = settings.extras()
        body: dict[str, Any] = {
            "model": self._api.model_name,
            "messages": _written(self.system, messages),
            "max_tokens": settings.max_tokens.value,
            "temperature": settings.temperature.value,
            "top_p": settings.top_p.value,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        for name in ("presence_penalty", "frequency_penalty", "stop"):
            if name in extras:
                body[name] = extras[name]
        mode = MODES.get(self.thinking or self.family.default_thinking)
        if mode:
            body["thinking"] = {"type": mode}
        if mode == "enabled" and self.family.efforts:
            body["reasoning_effort"] = self.family.default_effort
        if self.tools:
            body["tools"] = [_written_tool(tool) for tool in self.tools]
        return body


def _refuse_lacking(names: Sequence[str]) -> None:
    if names:
        raise UsageError(f"DeepSeek's API has no {names[0]}", hint="leave it out")


def _written(system: str, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages in the API's format. Reasoning is sent back only where tools were called."""
    written: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            open_calls = [f"call_{place}_{number}" for number in range(len(message.calls))]
            entry["reasoning_content"] = message.reasoning
            entry["tool_calls"] = [
                {
                    "id": id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for id, call in zip(open_calls, message.calls, strict=True)
            ]
        elif message.role == "tool":
            entry["tool_call_id"] = open_calls.pop(0) if open_calls else f"call_{place}"
        written.append(entry)
    return written


def _written_tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": dict(tool.parameters)}}


@dataclass
class _DeltaReader:
    """Reads the events of one answer into a turn."""

    turn: Turn
    url: str

    def read(self, event: dict[str, Any]) -> Iterator[AnswerEvent]:
        """Yield what ``event`` brings. Raises RemoteEngineError where it makes no sense."""
        self._take_usage(event.get("usage"))
        choices = event.get("choices")
        if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
            raise self._nonsense("an event without choices")
        for choice in choices[:1]:
            delta = choice.get("delta") or {}
            if not isinstance(delta, dict):
                raise self._nonsense("no delta")
            for part in self._parts(delta):
                self.turn.add(part)
                yield part
            reason = choice.get("finish_reason")
            if reason is not None:
                self._finish(reason)

    def _parts(self, delta: dict[str, Any]) -> Iterator[AnswerEvent]:
        if reasoning := self._text(delta.get("reasoning_content")):
            yield Reasoning(reasoning)
        if text := self._text(delta.get("content")):
            self.turn.text_is_certain = True
            yield Text(text)
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise self._nonsense("tool calls that are no list")
        for call in calls:
            yield from self._call(call)

    def _call(self, call: Any) -> Iterator[AnswerEvent]:
        function = call.get("function") if isinstance(call, dict) else None
        index = call.get("index") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(index, int):
            raise self._nonsense("a tool call that makes no sense")
        count = len(self.turn.calls)
        if index == count and count < MAX_CALLS:
            yield ToolCallStarted(index, self._text(function.get("name")))
        elif index != count - 1:
            raise self._nonsense("tool calls out of order")
        if arguments := self._text(function.get("arguments")):
            yield ToolCallArguments(index, arguments)

    def _finish(self, reason: Any) -> None:
        found = FINISH.get(reason) if isinstance(reason, str) else None
        if found is None:
            shown = reason if isinstance(reason, str) and reason.isprintable() else "no reason"
            raise RemoteEngineError(f"{self.url}: gave the answer up: {shown:.60}")
        self.turn.finish_reason = found

    def _take_usage(self, usage: Any) -> None:
        """Take over the counts of tokens, if they are given."""
        if not isinstance(usage, dict):
            return
        details = usage.get("completion_tokens_details")
        turn = self.turn
        turn.prompt_tokens = _count(usage.get("prompt_tokens"))
        turn.cached_tokens = _count(usage.get("prompt_cache_hit_tokens"))
        turn.completion_tokens = _count(usage.get("completion_tokens"))
        if isinstance(details, dict):
            turn.reasoning_tokens = _count(details.get("reasoning_tokens"))

    def _text(self, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._nonsense("what is not text")
        return value.encode("utf-8", "replace").decode("utf-8")

    def _nonsense(self, what: str) -> RemoteEngineError:
        return RemoteEngineError(f"{self.url}: sends {what}")


def _count(value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return value if is_count else 0
