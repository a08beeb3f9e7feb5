"""A conversation with one model: history without earlier reasoning, prompts that leave room for the
answer, events as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from dslocal.errors import UsageError
from dslocal.output.answer import (
    MIN_ANSWER_TOKENS,
    Turn,
    overflow_error,
    parse_answer,
    reserved_tokens,
    stream_answer,
)
from dslocal.output.constraint import OutputConstraint
from dslocal.output.reasoning import AnswerEvent
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Message, Segment, Thinking, Tool, encode
from dslocal.prompts.settings import Settings

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext


PROBES = ("a", "1")  # two questions that have nothing in common
CONTINUE_HINT = "an answer that was cut can be gone on with"


@dataclass(frozen=True, slots=True)
class HistoryTrimmed:
    """Whole turns that were left out at the front, because the context is full."""

    turns: int


Event = AnswerEvent | HistoryTrimmed


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """The tokens of an answer that was cut, the seed that drew them, and how the answer began."""

    ids: tuple[int, ...]
    seed: int
    thinking: Thinking | None = None


@dataclass
class Session:
    """``history`` holds the turns, of which those before ``first_kept`` are not told any more;
    :meth:`stream` adds one. ``turn`` is the current or last. ``thinking`` None: the family's way.
    An answer that was cut is the last message, its tokens are in ``partial``.

    ``top_logprobs`` asks every turn for its tokens' logprobs. ``form`` is what every answer must
    look like once the thought is over.
    """

    context: LlamaContext
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

    @property
    def is_unfinished(self) -> bool:
        """Whether the last answer was cut, so that :meth:`continue_answer` can go on with it."""
        return bool(self.history) and bool(self.history[-1].cut)

    def prompt(self, text: str) -> list[Segment]:
        """The prompt that asks ``text`` next."""
        return self._render([*self.history[self.first_kept :], Message("user", text)])

    def certain_ids(self) -> list[int]:
        """The ids that the next prompt begins with whatever is asked: all up to the question,
        reasoning left out.

        None of them while an answer can be gone on with, which needs the cache as it is.
        """
        if not self.history or self.is_unfinished:
            return []
        one, other = (encode(self.prompt(text), self.context.model) for text in PROBES)
        return [
            have
            for have, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        ]

    def stream(
        self,
        text: str,
        seed: int,
        *,
        typed: str = "",
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> Generator[Event]:
        """Asks ``text``, of which the user ``typed`` a part, and yields what happens.
        ``on_prefill`` is told tokens of the prompt evaluated and to evaluate.

        Raises ContextOverflowError before anything is evaluated, and KeyboardInterrupt on Ctrl-C;
        what came until then is in ``turn``, and in the history once there is anything of it.
        """
        question = Message("user", text, typed="" if typed == text else typed)
        prompt, ids, dropped = self._fitting(
            [question], reserved_tokens(self.settings, self.context.n_ctx)
        )
        if dropped:
            yield HistoryTrimmed(dropped)
        turn = self.turn = Turn(
            prompt_tokens=0, seed=seed, top_logprobs=self.top_logprobs, constraint=self.constraint
        )
        begun = len(self.history)
        try:
            yield from stream_answer(
                turn,
                self.context,
                self.family,
                self.settings,
                prompt,
                ids=ids,
                on_prefill=on_prefill,
            )
        finally:
            self._keep(turn, [*self.history[:begun], question], self.thinking)

    def continue_answer(
        self, *, on_prefill: Callable[[int, int], None] | None = None
    ) -> Generator[Event]:
        """Goes on with the last answer, which was cut, and yields what is new: token by token what
        would have come without the cut.

        Where its tokens are not known or not this model's, its text is gone on with. Raises
        UsageError when there is nothing to go on with, ContextOverflowError when there is no room,
        KeyboardInterrupt on Ctrl-C.
        """
        if not self.is_unfinished:
            raise UsageError(
                "the last answer is whole" if self.history else "nothing has been asked yet",
                hint=CONTINUE_HINT,
            )
        cut, least = self.history[-1], min(self.settings.max_tokens.value, MIN_ANSWER_TOKENS // 4)
        asked = next(
            (i for i in range(len(self.history) - 1, -1, -1) if self.history[i].role == "user"), 0
        )
        thinking = self.partial.thinking if self.partial else self.thinking
        before = self.history[asked:-1]
        begun = self._valid(
            self.partial, self._render([*self.history[self.first_kept : asked], *before], thinking)
        )
        if begun is None and cut.calls:
            raise UsageError(
                "an answer that calls tools can only be gone on with by the model that began it"
            )
        ending = [] if begun else [replace(cut, prefix=True)]
        prompt, ids, dropped = self._fitting([*before, *ending], least, begun, until=asked)
        if dropped:
            yield HistoryTrimmed(dropped)
        turn = self.turn = Turn(
            prompt_tokens=0,
            seed=self.partial.seed if self.partial else 1,
            top_logprobs=self.top_logprobs,
            constraint=self.constraint,
        )
        history = self.history[:-1]
        try:
            tokens = begun.ids if begun else ()
            yield from stream_answer(
                turn,
                self.context,
                self.family,
                self.settings,
                prompt,
                ids=ids,
                partial=tokens,
                on_prefill=on_prefill,
            )
        finally:
            if begun is None:
                turn.reasoning, turn.text = (
                    cut.reasoning + turn.reasoning,
                    cut.content + turn.text,
                )
            self._keep(turn, history, thinking)
            self.partial = self.partial if begun else None

    def end_reasoning(self) -> None:
        """Closes the thought of the answer that is being streamed, which goes on with the answer.
        From any thread.
        """
        if self.turn and self.turn.steering:
            self.turn.steering.close_reasoning()

    def remove_last_turn(self) -> Message | None:
        """Forgets the last question and all that came of it, and returns it; None when there is
        none.
        """
        asked = next(
            (i for i in range(len(self.history) - 1, -1, -1) if self.history[i].role == "user"),
            None,
        )
        if asked is None:
            return None
        question = self.history[asked]
        self.truncate(asked)
        return question

    def truncate(self, length: int = 0) -> None:
        """Leaves the first ``length`` messages of the history."""
        self.history = self.history[:length]
        self.first_kept, self.partial = min(self.first_kept, length), None

    def _keep(self, turn: Turn, history: list[Message], thinking: Thinking | None) -> None:
        """Puts what came of ``turn`` behind ``history``, if anything did."""
        message = turn.message
        if turn.text or turn.calls or turn.ids or turn.reasoning:
            self.history = [*history, message]
            self.partial = (
                PartialAnswer(tuple(turn.ids), turn.seed, thinking) if message.cut else None
            )

    def _valid(
        self, begun: PartialAnswer | None, prompt: Sequence[Segment]
    ) -> PartialAnswer | None:
        """``partial`` where this model reads it as the text of the last answer."""
        model = self.context.model
        if (
            begun is None
            or not begun.ids
            or not all(
                0 <= token < model.n_vocab and not model.is_end_token(token) for token in begun.ids
            )
        ):
            return None
        read, cut = (
            parse_answer(begun.ids, self.family, self.settings, prompt, model),
            self.history[-1],
        )
        same = (read.reasoning, read.text, tuple(read.calls)) == (
            cut.reasoning,
            cut.content,
            cut.calls,
        )
        return begun if same else None

    def _render(
        self, messages: Sequence[Message], thinking: Thinking | None = None
    ) -> list[Segment]:
        system = [Message("system", self.system)] if self.system else []
        return self.family.render(
            [*system, *_told(messages)], thinking or self.thinking, self.tools
        )

    def _fitting(
        self,
        last: list[Message],
        needed: int,
        begun: PartialAnswer | None = None,
        until: int | None = None,
    ) -> tuple[list[Segment], list[int], int]:
        """The prompt of ``last`` after what fits of the history ``until`` there, its ids, and how
        many turns more had to go.

        ``needed`` tokens stay free behind the prompt and ``partial``; 1 is enough where an answer is
        gone on with and nothing can go.
        """
        n_ctx, first, dropped = self.context.n_ctx, self.first_kept, 0
        earlier = self.history[:until]
        while True:
            prompt = self._render([*earlier[first:], *last], begun.thinking if begun else None)
            ids = encode(prompt, self.context.model)
            taken = len(ids) + (len(begun.ids) if begun else 0)
            if taken + needed <= n_ctx:
                self.first_kept = first
                return prompt, ids, dropped
            if first >= len(earlier):
                if until is not None and taken < n_ctx:
                    needed = 1
                    continue
                raise overflow_error(self.context, self.settings, taken, needed)
            following = next(
                (i for i in range(first + 1, len(earlier)) if earlier[i].role == "user"),
                len(earlier),
            )
            first, dropped = following, dropped + 1


def _told(messages: Sequence[Message]) -> list[Message]:
    """``messages`` without turns of which nothing but a thought came: an empty answer would teach
    the model to give some.
    """
    told: list[Message] = []
    for message in messages:
        if (
            message.role == "assistant"
            and message.reasoning
            and not (message.prefix or message.content or message.calls)
        ):
            while told and told[-1].role == "user":
                told.pop()
        else:
            told.append(message)
    return told
