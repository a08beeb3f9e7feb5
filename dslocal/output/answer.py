"""Generate one answer and read it: reasoning, text and tool calls, collected in a :class:`Turn`.

A partial answer can be continued: its token ids are read again, so that parser, sampler and
constraint stand where they stood after the last of them. Does not know conversations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dslocal.errors import ContextOverflowError
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Message, Segment, ToolCall, encode
from dslocal.prompts.settings import Settings

from .constraint import OutputConstraint
from .growing import GrowingCalls, GrowingText, grow
from .loops import Loop, LoopDetector
from .reasoning import AnswerEvent, Reasoning, Reclassified, Text, make_parser
from .sampler_settings import sampling_parameters
from .steering import Steering, make_steering
from .stop_texts import StopTexts
from .tool_calls import ToolCallArguments, ToolCallStarted

if TYPE_CHECKING:
    from dslocal.engine import EngineContext, LlamaModel
    from dslocal.engine.grammar.grammar import Grammar
    from dslocal.engine.interface import AnswerGrammar, TokenStream
    from dslocal.types import FinishReason, Timings, TokenLogprobs

MIN_ANSWER_TOKENS = 256  # tokens of the context that a prompt must leave free


@dataclass
class Turn:
    """One answer, whole once its stream has ended and partial where that was interrupted.

    Attributes:
        prompt_tokens: Tokens of the prompt, and of the partial answer that is continued.
        cached_tokens: How many of these were in the KV cache already.
        completion_tokens: Tokens of the answer: reasoning, text, calls and resumed tokens.
        reasoning_tokens: How many of these are reasoning.
        drafted_tokens: Tokens that were drafted ahead.
        accepted_tokens: How many of these were right.
        reasoning: The reasoning so far.
        reasoning_s: Seconds from the first token to the last of the reasoning.
        text: The text of the answer so far.
        calls: The tool calls so far.
        seed: The seed that the answer is sampled with.
        finish_reason: Why the answer ended; None while it is generated.
        timings: Seconds of prefill and decoding; None while it is generated.
        text_is_certain: Whether ``text`` can no longer turn out to be reasoning.
        top_logprobs: Ask for the logprobs of every token and of so many likeliest ones; None asks
            for none.
        logprobs: The logprobs that were asked for, one entry a new token.
        prompt_logprobs: Those of the prompt's tokens after the first, where they were asked for.
        constraint: What the text must look like.
        grammar: The constraint's grammar where it is compiled already. It is copied.
        loop: The endless repetition that ended the answer, or only its reasoning.
        steering: What closes the reasoning and holds the answer to its grammar.
        stop_text: The stop text that ended the answer; None where none did.
        ids: The token ids of the answer.
        resumed_tokens: How many of ``ids`` come from the partial answer that is continued. Timings,
            drafted, accepted and cached tokens are of what came after them.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    reasoning: GrowingText = GrowingText()  # noqa: RUF009 - a descriptor, as dataclasses allow
    reasoning_s: float = 0.0
    text: GrowingText = GrowingText()  # noqa: RUF009
    calls: GrowingCalls = GrowingCalls()  # noqa: RUF009
    seed: int = 0
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    text_is_certain: bool = False
    top_logprobs: int | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    constraint: OutputConstraint | None = None
    grammar: Grammar | None = None
    loop: Loop | None = None
    steering: Steering | None = None
    stop_text: str | None = None
    ids: list[int] = field(default_factory=list)
    resumed_tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """Return the speed of decoding; 0 while it is not known."""
        if self.timings is None or self.timings.decode <= 0:
            return 0.0
        return (self.completion_tokens - self.resumed_tokens) / self.timings.decode

    @property
    def is_cut(self) -> bool:
        """Return whether max_tokens, the context or a loop ended the answer."""
        return self.finish_reason is not None and self.finish_reason.value == "length"

    @property
    def no_answer(self) -> str | None:
        """Return why a whole answer is empty, in a few words; None where it is not, or was cut."""
        if self.finish_reason is None or self.is_cut or self.text.strip() or self.calls:
            return None
        if self.reasoning.strip():
            return "the model stopped in the midst of its reasoning, or after it"
        return "the model stopped without a word"

    @property
    def warning(self) -> str | None:
        """Return what a client is told of a repetition without end; None where there is none."""
        if self.loop is None:
            return None
        part = "answer" if self.is_cut else "reasoning"
        return f"the {part} was cut, since it repeats itself: {self.loop}"

    @property
    def message(self) -> Message:
        """Return the answer as a message of the conversation."""
        reason = self.finish_reason.value if self.finish_reason else "interrupted"
        cut = "" if reason == "stop" else reason
        calls = tuple(self.calls)
        seconds = round(self.reasoning_s, 1) if self.reasoning else 0.0
        return Message("assistant", self.text, self.reasoning, calls, cut=cut, reasoning_s=seconds)

    def add(self, event: AnswerEvent) -> None:
        """Add what ``event`` brings to the answer."""
        match event:
            case Reasoning(text):
                grow(self, "reasoning", text)
            case Text(text):
                grow(self, "text", text)
            case Reclassified():
                self.reasoning, self.text = self.text, ""
            case ToolCallStarted(_, name):
                self.calls.append(ToolCall(name, ""))
            case ToolCallArguments(_, text):
                grow(self, "calls", text)


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
    return ContextOverflowError(
        f"the prompt is {prompt_tokens:,} tokens and the answer needs room for {room:,}; "
        f"the context holds {context.n_ctx:,}",
        hint=context.overflow_hint,
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
