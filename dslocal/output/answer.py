"""Generate one answer and read it: reasoning, text and tool calls, collected in a :class:`Turn`.

A partial answer can be continued: its token ids are read again, so that parser, sampler and
constraint stand where they stood after the last of them. Does not know conversations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.errors import ContextOverflowError
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Segment, encode
from dslocal.prompts.settings import Settings

from .loops import LoopDetector
from .reasoning import AnswerEvent, make_parser
from .sampler_settings import sampling_parameters
from .steering import Steering, make_steering
from .stop_texts import StopTexts
from .turn import Turn

if TYPE_CHECKING:
    from dslocal.engine import EngineContext, LlamaModel
    from dslocal.engine.interface import AnswerGrammar, TokenStream
    from dslocal.types import FinishReason

MIN_ANSWER_TOKENS = 256  # tokens of the context that a prompt must leave free


class AnswerReader:
    """Read the tokens of one answer into a turn: characters, reasoning, calls, stop texts, loops.

    Attributes:
        turn: Where the answer is collected.
        parser: Tells reasoning, text and calls apart.
        stop: Looks for stop texts.
        loops: Looks for endless repetitions.
    """

    def __init__(
        self,
        turn: Turn,
        family: Family,
        settings: Settings,
        prompt: Sequence[Segment],
        model: LlamaModel,
    ) -> None:
        from dslocal.engine.utf8 import Utf8Stream

        self.turn = turn
        self.parser = make_parser(family, prompt, model)
        self.stop = StopTexts(settings.stop.value, verbatim=self.parser.verbatim)
        self.loops = LoopDetector()
        self._characters = Utf8Stream()
        self._began: float | None = None  # when the first token came
        self._reasoning_s = turn.reasoning_s  # of the partial answer that is continued
        self._family = family
        self._settings = settings
        self._prompt = prompt
        self._model = model

    def feed(self, token: int) -> list[AnswerEvent]:
        """Add ``token`` to the turn, and return the events that it causes."""
        turn = self.turn
        now = time.monotonic()
        if self._began is None:
            self._began = now
        text = self._characters.feed(self._model.piece(token))
        turn.ids.append(token)
        turn.completion_tokens += 1
        if self.parser.is_reasoning:
            turn.reasoning_tokens += 1
            turn.reasoning_s = self._reasoning_s + now - self._began
        events = list(self.stop.filter(self.parser.feed(token, text)))
        for event in events:
            turn.add(event)
        turn.text_is_certain = not self.parser.is_uncertain
        self.loops.feed(token, text)
        return events

    def finish(self) -> list[AnswerEvent]:
        """Add what was held back to the turn, and return the events, when no more tokens come."""
        events: list[AnswerEvent] = []
        if self.stop.reached is None:
            events += self.stop.filter(self.parser.finish(self._characters.flush()))
        events += self.stop.finish()
        for event in events:
            self.turn.add(event)
        return events

    def reached_stop_text(self) -> bool:
        """Return whether the text ends here, at a stop text."""
        return self.stop.ended_in(self.parser.held_space)

    def read_again(self) -> Turn:
        """Return the turn that the ids so far make when they are read from the first."""
        return parse_answer(self.turn.ids, self._family, self._settings, self._prompt, self._model)


def parse_answer(
    ids: Sequence[int],
    family: Family,
    settings: Settings,
    prompt: Sequence[Segment],
    model: LlamaModel,
) -> Turn:
    """Return the answer to ``prompt`` that the token ids ``ids`` spell."""
    turn = Turn(prompt_tokens=0)
    reader = AnswerReader(turn, family, settings, prompt, model)
    for token in ids:
        reader.feed(token)
    reader.finish()
    return turn


def reserved_tokens(settings: Settings, n_ctx: int) -> int:
    """Return how many tokens of a context a prompt must leave for the answer."""
    return min(settings.max_tokens.value, max(MIN_ANSWER_TOKENS, n_ctx // 4))


def overflow_error(
    context: EngineContext, settings: Settings, prompt_tokens: int, needed: int | None = None
) -> ContextOverflowError:
    """Return the error for a prompt that does not fit.

    Args:
        context: Says how many tokens fit.
        settings: Say how many tokens are reserved for the answer.
        prompt_tokens: Tokens of the prompt.
        needed: Tokens that the answer needs, if not those that are reserved.
    """
    room = needed or reserved_tokens(settings, context.n_ctx)
    left = context.n_ctx - prompt_tokens
    hint = context.overflow_hint
    if MIN_ANSWER_TOKENS <= left < room:
        hint += f"; or limit the answer: max_tokens of at most {left}"
    return ContextOverflowError(
        f"the prompt is {prompt_tokens:,} tokens and the answer needs room for {room:,}; "
        f"the context holds {context.n_ctx:,}",
        hint=hint,
    )


def stream_answer(
    turn: Turn,
    context: EngineContext,
    family: Family,
    settings: Settings,
    prompt: Sequence[Segment],
    *,
    ids: Sequence[int] | None = None,
    partial: Sequence[int] = (),
    on_prefill: Callable[[int, int], None] | None = None,
) -> Generator[AnswerEvent]:
    """Generate the answer to ``prompt`` into ``turn``, and yield its events as they come.

    Args:
        turn: Where the answer is collected. Its seed, top_logprobs and constraint are obeyed.
        context: The model's context; its KV cache is reused as far as it matches.
        family: Says how the answer is parsed and what ends it.
        settings: How tokens are sampled.
        prompt: The prompt as segments.
        ids: The token ids of ``prompt`` where they are known already.
        partial: Token ids that the answer begins with. They are collected and not yielded; what
            follows is what would have followed them.
        on_prefill: Called with the tokens of the prompt that are evaluated, and their number.

    Raises:
        ContextOverflowError: Before anything is evaluated, if the prompt leaves no room for an
            answer.
        KeyboardInterrupt: On Ctrl-C. What came until then is in ``turn``.
    """
    from dslocal.engine.interface import GenerationRequest

    model = context.model
    ids = encode(prompt, model) if ids is None else ids
    turn.prompt_tokens = len(ids) + len(partial)
    needed = 1 if partial else reserved_tokens(settings, context.n_ctx)
    if turn.prompt_tokens + needed > context.n_ctx:
        raise overflow_error(context, settings, turn.prompt_tokens, needed)
    stops = [model.special_id(special.token) for special in family.format.stop]
    stop_ids = [id for id in stops if id is not None]
    generation = context.generate(
        GenerationRequest(
            ids,
            partial,
            sampling_parameters(settings, turn.seed, model, turn.top_logprobs),
            max_tokens=settings.max_tokens.value,
            stop=stop_ids,
            on_prefill=on_prefill,
        )
    )
    turn.logprobs = generation.logprobs  # grows with the answer
    reader = AnswerReader(turn, family, settings, prompt, model)
    turn.steering = make_steering(
        family,
        reader.parser,
        model,
        settings.think_budget.value,
        _answer_grammar(turn, context),
        stop_ids,
    )
    run = _AnswerRun(turn, generation, reader, turn.steering)
    run.resume(partial)
    yield from run.events()


def _answer_grammar(turn: Turn, context: EngineContext) -> AnswerGrammar | None:
    """Return the grammar of an answer, if it has one."""
    if turn.constraint is not None:
        return context.grammar(turn.constraint.grammar, turn.constraint.made_from, turn.grammar)
    return turn.grammar.copy() if turn.grammar else None


@dataclass
class _AnswerRun:
    """What works together while one answer is generated."""

    turn: Turn
    generation: TokenStream
    reader: AnswerReader
    steering: Steering

    def resume(self, partial: Sequence[int]) -> None:
        """Bring everything to where it was after the tokens of ``partial``, which may be none."""
        self.turn.resumed_tokens = len(partial)
        for token in partial:
            self.reader.feed(token)
            if self.steering.needed:
                self.steering.accept(token)
        if not self.steering.needed:
            self.steering.follow(self.reader.parser)
        self.reader.loops.reset()  # continuing a repetition is what the user asked for
        self._steer()

    def events(self) -> Generator[AnswerEvent]:
        """Generate the answer and yield its events."""
        self.turn.settle = self._conclude
        try:
            for token in self.generation:
                yield from self.reader.feed(token)
                if self._ends_in_loop() or self.reader.reached_stop_text():
                    break
                if self.generation.steering is None:
                    self.steering.follow(self.reader.parser)
                    self._steer()
            yield from self.reader.finish()
        finally:
            self._conclude()

    def _steer(self) -> None:
        """Let the steering hold the sampler, if there is anything to steer."""
        self.generation.steering = self.steering if self.steering.needed else None

    def _ends_in_loop(self) -> bool:
        """Return whether the answer repeats itself without end; reasoning that does is closed."""
        loops = self.reader.loops
        if not loops.found:
            return False
        self.turn.loop = loops.found
        if not self.steering.is_reasoning:
            return True
        self.steering.close_reasoning()  # an answer is worth more than the rest of the reasoning
        loops.reset()
        return False

    def _conclude(self) -> None:
        """Fill in what the end of the generation decides, whatever ended it."""
        from dslocal.types import FinishReason

        turn = self.turn
        turn.settle = None
        turn.cached_tokens = self.generation.cached
        turn.drafted_tokens = self.generation.drafted
        turn.accepted_tokens = self.generation.accepted
        turn.timings = self.generation.timings
        turn.finish_reason = self._finish_reason()
        turn.stop_text = self.reader.stop.reached
        if turn.loop is None and turn.is_cut:
            turn.loop = self.reader.loops.suspected
        turn.logprobs = self.generation.logprobs[: turn.completion_tokens - turn.resumed_tokens]
        if turn.finish_reason is FinishReason.INTERRUPTED:  # perhaps while a token was read
            again = self.reader.read_again()
            turn.reasoning = again.reasoning
            turn.text = again.text
            turn.calls = again.calls

    def _finish_reason(self) -> FinishReason | None:
        from dslocal.types import FinishReason

        if self.reader.stop.reached is not None:
            return FinishReason.STOP
        if self.reader.loops.found:
            return FinishReason.LENGTH
        return self.generation.finish_reason
