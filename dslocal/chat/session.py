"""Hold a conversation with one model: its history, prompts that fit the context, its answers.

History is sent without earlier reasoning. Does not know where conversations are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dslocal.errors import UsageError
from dslocal.output.answer import (
    MIN_ANSWER_TOKENS,
    overflow_error,
    parse_answer,
    reserved_tokens,
    stream_answer,
)
from dslocal.output.constraint import OutputConstraint
from dslocal.output.reasoning import AnswerEvent
from dslocal.output.sampler_settings import resolve_logit_bias
from dslocal.output.turn import Turn
from dslocal.prefix import common_prefix_length
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Message, Segment, Thinking, Tool, encode
from dslocal.prompts.settings import Settings

from .running_answer import Outcome, PartialAnswer, RunningAnswer

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


MIN_CONTINUATION = MIN_ANSWER_TOKENS // 4  # tokens that history makes room for, to continue
PROBES = ("a", "1")  # two questions that have nothing in common
CONTINUE_HINT = "an answer that was cut can be continued"


@dataclass(frozen=True, slots=True)
class HistoryTrimmed:
    """Whole turns were left out at the front, because the context is full."""

    turns: int


Event = AnswerEvent | HistoryTrimmed
OnPrefill = Callable[[int, int], None]  # tokens of the prompt that are evaluated, and all of them


@dataclass(frozen=True)
class FittedPrompt:
    """A prompt that leaves room for an answer.

    Attributes:
        segments: The prompt.
        ids: Its token ids.
        first_kept: Where the history begins that it holds.
        dropped_turns: How many more turns had to be left out.
    """

    segments: list[Segment]
    ids: list[int]
    first_kept: int
    dropped_turns: int


@dataclass
class Session:
    """A conversation with one model.

    Attributes:
        context: The model's context.
        family: Says how prompts are written and answers are parsed.
        settings: How tokens are sampled.
        system: The system prompt; empty for none.
        thinking: How answers begin; None for the family's default.
        tools: The tools that the model may call.
        history: The messages, to which :meth:`stream` adds a question and its answer.
        turn: The current answer, or the last.
        top_logprobs: Ask every turn for the logprobs of so many likeliest tokens; None for none.
        constraint: What the text of every answer must look like.
        first_kept: Where the history begins that is still sent; what is before does not fit.
        partial: The tokens of the last answer, if it was cut.
        running: The answer that is being streamed.
    """

    context: EngineContext
    family: Family
    settings: Settings
    system: str = ""
    thinking: Thinking | None = None
    tools: Sequence[Tool] = ()
    history: list[Message] = field(default_factory=list)
    turn: Turn | None = None
    top_logprobs: int | None = None
    constraint: OutputConstraint | None = None
    first_kept: int = 0
    partial: PartialAnswer | None = None
    running: RunningAnswer | None = field(default=None, repr=False)

    def change_settings(self, values: Mapping[str, Any], source: str = "") -> None:
        """Change settings of sampling, all of them or none.

        Args:
            values: The new values by name.
            source: Where they come from, for people; empty for the name of each.

        Raises:
            UsageError: A value is not allowed, or not one for this model. All are as they were.
        """
        settings = self.settings
        for name, value in values.items():
            settings = settings.with_value(name, value, source or name)
        self.require_possible(settings)
        self.settings = settings

    def require_possible(self, settings: Settings) -> None:
        """Refuse settings with which every question would fail.

        Raises:
            UsageError: A bias is for what is not a token of this model.
        """
        if settings.logit_bias.value:
            resolve_logit_bias(settings.logit_bias, self.context.model)

    @property
    def is_unfinished(self) -> bool:
        """Return whether the last answer was cut, so that :meth:`continue_answer` works."""
        return bool(self.history) and bool(self.history[-1].cut)

    def prompt(self, text: str) -> list[Segment]:
        """Return the prompt that asks ``text`` next."""
        return self._render([*self.history[self.first_kept :], Message("user", text)])

    def certain_ids(self) -> list[int]:
        """Return the token ids that the next prompt begins with, whatever is asked.

        These are all up to the question, without the reasoning of earlier answers. There are none
        while an answer can be continued, which needs the cache as it is.
        """
        if not self.history or self.is_unfinished:
            return []
        one, other = (encode(self.prompt(text), self.context.model) for text in PROBES)
        return one[: common_prefix_length(one, other)]

    def stream(
        self,
        text: str,
        seed: int,
        *,
        typed: str = "",
        on_prefill: OnPrefill | None = None,
    ) -> Generator[Event]:
        """Ask ``text``, yield events as they come, and leave the answer in ``turn``.

        Args:
            text: The question as it is sent.
            seed: The seed of the sampler.
            typed: What of it the user typed; empty where that is all.
            on_prefill: Called with the tokens of the prompt that are evaluated, and their number.

        Raises:
            ContextOverflowError: Before anything is evaluated, if the prompt leaves no room for an
                answer.
            KeyboardInterrupt: On Ctrl-C. What came until then is in ``turn``, and in the history
                once there is any.
        """
        question = Message("user", text, typed="" if typed == text else typed)
        needed = reserved_tokens(self.settings, self.context.n_ctx)
        fitted = self._fit([question], needed=needed, min_needed=needed)
        if fitted.dropped_turns:
            yield HistoryTrimmed(fitted.dropped_turns)
        turn = self.turn = self._new_turn(seed)
        read = self._reader(fitted.segments)
        self.running = RunningAnswer(turn, [*self.history, question], self.thinking, read)
        try:
            yield from stream_answer(
                turn,
                self.context,
                self.family,
                self.settings,
                fitted.segments,
                ids=fitted.ids,
                on_prefill=on_prefill,
            )
        finally:
            self._keep()

    def continue_answer(self, *, on_prefill: OnPrefill | None = None) -> Generator[Event]:
        """Continue the last answer, which was cut, and yield the events that are new.

        They are token by token what would have come without the cut. Where the tokens of the
        partial answer are not known, or not this model's, its text is continued.

        Args:
            on_prefill: Called with the tokens of the prompt that are evaluated, and their number.

        Raises:
            UsageError: If there is nothing to continue, or a tool call of another model.
            ContextOverflowError: Before anything is evaluated, if the context is full.
            KeyboardInterrupt: On Ctrl-C, as in :meth:`stream`.
        """
        if not self.is_unfinished:
            reason = "the last answer is whole" if self.history else "nothing has been asked yet"
            raise UsageError(reason, hint=CONTINUE_HINT)
        cut = self.history[-1]
        history = self.history[:-1]
        seed = self.partial.seed if self.partial else 1
        thinking = self.partial.thinking if self.partial else self.thinking
        partial = self._valid_partial()
        if partial is None and cut.calls:
            raise UsageError(
                "an answer that calls tools can be continued only by the model that began it"
            )
        fitted = self._fit_continuation(cut, partial)
        if fitted.dropped_turns:
            yield HistoryTrimmed(fitted.dropped_turns)
        turn = self.turn = self._new_turn(seed)
        turn.reasoning_s = cut.reasoning_s
        read = self._reader(fitted.segments)
        continued = cut if partial is None else None
        self.running = RunningAnswer(turn, history, thinking, read, continued)
        try:
            yield from stream_answer(
                turn,
                self.context,
                self.family,
                self.settings,
                fitted.segments,
                ids=fitted.ids,
                partial=partial.ids if partial else (),
                on_prefill=on_prefill,
            )
        finally:
            self._keep()

    def end_reasoning(self) -> None:
        """Close the reasoning of the answer that is streamed, so that its text comes next.

        From any thread.
        """
        if self.turn and self.turn.steering:
            self.turn.steering.close_reasoning()

    def remove_last_turn(self) -> Message | None:
        """Forget the last question and its answer; return the question, None without one."""
        place = self.last_question
        if place is None:
            return None
        question = self.history[place]
        self.truncate(place)
        return question

    def truncate(self, length: int = 0) -> None:
        """Keep only the first ``length`` messages of the history."""
        self.history = self.history[:length]
        self.first_kept = min(self.first_kept, length)
        self.partial = None

    def _new_turn(self, seed: int) -> Turn:
        return Turn(
            prompt_tokens=0,
            seed=seed,
            top_logprobs=self.top_logprobs,
            constraint=self.constraint,
        )

    @property
    def last_question(self) -> int | None:
        """Return where the last question is in the history."""
        return next(
            (i for i in reversed(range(len(self.history))) if self.history[i].role == "user"), None
        )

    def interrupted(self) -> Outcome | None:
        """Return what the conversation would be if its answer ended now; None before any came."""
        return self.running.interrupted() if self.running else None

    def _keep(self) -> None:
        """Add the answer that has ended to the history, unless it is empty."""
        running, self.running = self.running, None
        outcome = running.end() if running else None
        if outcome is not None:
            self.history, self.partial = outcome

    def _reader(self, prompt: Sequence[Segment]) -> Callable[[Sequence[int]], Turn]:
        """Return what reads the tokens of an answer to ``prompt``."""
        family, settings = self.family, self.settings
        return lambda ids: parse_answer(ids, family, settings, prompt, self.context.model)

    def _valid_partial(self) -> PartialAnswer | None:
        """Return the partial answer, if this model reads its tokens as the last message says."""
        partial = self.partial
        model = self.context.model
        if partial is None or not partial.ids:
            return None
        if any(not 0 <= id < model.n_vocab or model.is_end_token(id) for id in partial.ids):
            return None
        prompt = self._render(self.history[self.first_kept : -1], partial.thinking)
        read = parse_answer(partial.ids, self.family, self.settings, prompt, model)
        cut = self.history[-1]
        is_same = (
            read.reasoning == cut.reasoning
            and read.text == cut.content
            and tuple(read.calls) == cut.calls
        )
        return partial if is_same else None

    def _render(
        self, messages: Sequence[Message], thinking: Thinking | None = None
    ) -> list[Segment]:
        system = [Message("system", self.system)] if self.system else []
        return self.family.render(
            [*system, *_without_empty_answers(messages)], thinking or self.thinking, self.tools
        )

    def _fit_continuation(self, cut: Message, partial: PartialAnswer | None) -> FittedPrompt:
        """Return the prompt that continues ``cut``, as ``partial`` or as text.

        There may be little room left: one token is enough where nothing more can be dropped.
        """
        question = self.last_question or 0
        last = self.history[question:-1]
        if partial is None:
            last = [*last, replace(cut, prefix=True)]
        needed = min(self.settings.max_tokens.value, MIN_CONTINUATION)
        return self._fit(last, needed=needed, min_needed=1, until=question, partial=partial)

    def _fit(
        self,
        last: list[Message],
        *,
        needed: int,
        min_needed: int,
        until: int | None = None,
        partial: PartialAnswer | None = None,
    ) -> FittedPrompt:
        """Return the prompt of ``last`` after as many turns of the history as leave room.

        Args:
            last: The messages that the prompt must hold.
            needed: Tokens that stay free, for which turns are dropped.
            min_needed: Tokens that must stay free when no turn is left to drop.
            until: Where the history ends that stands before ``last``.
            partial: The answer whose tokens follow the prompt.

        Raises:
            ContextOverflowError: If not even ``last`` alone leaves room.
        """
        earlier = self.history[:until]
        thinking = partial.thinking if partial else None
        partial_tokens = len(partial.ids) if partial else 0
        first = self.first_kept
        dropped = 0
        while True:
            segments = self._render([*earlier[first:], *last], thinking)
            ids = encode(segments, self.context.model)
            taken = len(ids) + partial_tokens
            if taken + needed <= self.context.n_ctx or first >= len(earlier):
                break
            first = _next_turn(earlier, first)
            dropped += 1
        if taken + min_needed > self.context.n_ctx:
            raise overflow_error(self.context, self.settings, taken, needed)
        self.first_kept = first
        return FittedPrompt(segments, ids, first, dropped)


def _next_turn(messages: Sequence[Message], first: int) -> int:
    """Return where the turn after the one at ``first`` begins, or the end of ``messages``."""
    for place in range(first + 1, len(messages)):
        if messages[place].role == "user":
            return place
    return len(messages)


def _without_empty_answers(messages: Sequence[Message]) -> list[Message]:
    """Return ``messages`` without turns whose answers have nothing but reasoning.

    An empty answer in the history would teach the model to give some.
    """
    kept: list[Message] = []
    for message in messages:
        is_empty = not (message.prefix or message.content or message.calls)
        if message.role == "assistant" and message.reasoning and is_empty:
            while kept and kept[-1].role == "user":
                kept.pop()
        else:
            kept.append(message)
    return kept
