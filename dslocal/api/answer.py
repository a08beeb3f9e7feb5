"""An answer, its events, and the stream that yields them.

Does not know how a prompt is made: a session gives it the events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dslocal.errors import UsageError
from dslocal.output.reasoning import Reasoning, Reclassified, Text
from dslocal.output.tool_calls import ToolCallArguments, ToolCallStarted
from dslocal.prompts.messages import ToolCall
from dslocal.types import Timings

if TYPE_CHECKING:
    from dslocal.output.constraint import OutputConstraint
    from dslocal.output.turn import Turn


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer.

    Attributes:
        prompt_tokens: tokens of the prompt.
        cached_tokens: tokens of the prompt that were in the KV cache and were not evaluated.
        completion_tokens: tokens that were generated, including the reasoning.
        reasoning_tokens: generated tokens that belong to the reasoning.
        drafted_tokens: tokens that speculative decoding drafted.
        accepted_tokens: drafted tokens that the model accepted.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        text: the answer without its reasoning.
        reasoning: what the model wrote before the answer; empty without reasoning.
        tool_calls: the calls of tools, with their arguments as JSON text.
        finish_reason: "stop"; "length" where max_tokens or the context ended it; "tool_calls";
            or "interrupted".
        usage: numbers of tokens.
        timings: durations in seconds.
        seed: the seed that gives the same answer again.
        constraint: the schema or grammar that the answer had to follow, if any.
        no_answer: why the text of a complete answer is empty; None if it is not empty.
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Usage
    timings: Timings
    seed: int
    constraint: OutputConstraint | None = None
    no_answer: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def final(self) -> str | None:
        r"""Return the final answer in the text: the content of ``\boxed{}``, or what the text names
        as the answer.
        """
        from dslocal.evaluation import final_answer

        return final_answer(self.text)

    @property
    def parsed(self) -> Any:
        """Return the JSON value of an answer that follows a schema; None if there was no schema.

        Raises:
            SchemaError: the answer is not JSON, or does not satisfy its schema.
        """
        return self.constraint.check(self.text) if self.constraint else None


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a stream.

    Attributes:
        answer: the complete answer.
    """

    answer: Answer


Event = Reasoning | Text | ToolCall | Done


def answer_of(turn: Turn) -> Answer:
    """Return the answer that ``turn`` holds so far."""
    reason = turn.finish_reason.value if turn.finish_reason else "interrupted"
    if turn.calls and reason == "stop":
        reason = "tool_calls"
    return Answer(
        text=turn.text,
        reasoning=turn.reasoning,
        tool_calls=tuple(turn.calls),
        finish_reason=reason,
        usage=Usage(
            prompt_tokens=turn.prompt_tokens,
            cached_tokens=turn.cached_tokens,
            completion_tokens=turn.completion_tokens,
            reasoning_tokens=turn.reasoning_tokens,
            drafted_tokens=turn.drafted_tokens,
            accepted_tokens=turn.accepted_tokens,
        ),
        timings=turn.timings or Timings(),
        seed=turn.seed,
        constraint=turn.constraint,
        no_answer=turn.no_answer,
    )


class AnswerStream:
    """An answer while it is generated. Iterate over it once, and then read :attr:`answer`.

    ``close`` stops the generation, and so does the end of a ``with`` block. The answer is then what
    was generated until that moment, with the finish reason "interrupted".
    """

    def __init__(
        self,
        events: Generator[object],
        turn: Callable[[], Turn | None],
        busy: threading.Lock,
    ) -> None:
        """Wrap the events of a session.

        Args:
            events: what the session yields; nothing runs before the first event is requested.
            turn: returns the turn that the session fills.
            busy: held while the model generates, so that two streams cannot mix.
        """
        self._events = events
        self._turn = turn
        self._busy = busy
        self._iterator: Iterator[Event] = self._translated()
        self._answer: Answer | None = None

    def __iter__(self) -> Iterator[Event]:
        return self._iterator

    def __next__(self) -> Event:
        return next(self._iterator)

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the generation. An answer that is complete does not change."""
        if isinstance(self._iterator, Generator):
            self._iterator.close()
        if self._answer is None and (turn := self._turn()) is not None:
            self._answer = answer_of(turn)

    @property
    def answer(self) -> Answer:
        """Return the complete answer, after generating the rest of it.

        Raises:
            UsageError: the stream was closed before anything was generated.
        """
        if self._answer is None:
            for _ in self._iterator:
                pass
        if self._answer is None:
            raise UsageError("the stream was closed before the answer began")
        return self._answer

    def _translated(self) -> Generator[Event]:
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                "this model is generating another answer",
                hint="finish or close that stream first; or load a second model, which can answer "
                "at the same time",
            )
        try:
            yield from _settled(self._events, self._turn)
            turn = self._turn()
            if turn is not None:
                self._answer = answer_of(turn)
                yield Done(self._answer)
        finally:
            self._events.close()
            self._busy.release()


def _settled(events: Iterator[object], turn: Callable[[], Turn | None]) -> Iterator[Event]:
    """Yield only final events: text is held back while it may turn out to be reasoning.

    Each tool call is yielded when it is complete: when the next begins or the answer ends.
    """
    held = ""
    calls = 0
    for event in events:
        current = turn()
        if isinstance(event, Reasoning):
            yield event
        elif isinstance(event, Text):
            held += event.text
            if current is not None and current.text_is_certain:
                yield Text(held)
                held = ""
        elif isinstance(event, Reclassified):
            if held:
                yield Reasoning(held)
            held = ""
        elif isinstance(event, ToolCallStarted):
            if current is not None and len(current.calls) - 1 > calls:
                yield current.calls[calls]
                calls += 1
        elif isinstance(event, ToolCallArguments):
            continue
    if held:
        yield Text(held)
    current = turn()
    if current is not None:
        yield from current.calls[calls:]
