"""One answer to one prompt: generated, read as reasoning, answer and calls, and collected in a
:class:`Turn`.

An answer that was cut can be gone on with: its ids are read again, so that everything is as it was
after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dslocal.errors import ContextOverflowError
from dslocal.prompts.families import Family
from dslocal.prompts.messages import Message, Segment, ToolCall, encode
from dslocal.prompts.settings import Settings

from .constraint import OutputConstraint
from .loops import Loop, LoopDetector
from .reasoning import AnswerEvent, Reasoning, Reclassified, Text, make_parser
from .sampler_settings import make_sampler
from .steering import Steering, make_steering
from .stop_texts import StopTexts
from .tool_calls import ToolCallArguments, ToolCallStarted

if TYPE_CHECKING:
    from dslocal.engine import FinishReason, LlamaContext, LlamaModel, Timings, TokenLogprobs

MIN_ANSWER_TOKENS = 256  # tokens that a prompt must leave, at the least


@dataclass
class Turn:
    """One answer. Complete once the stream has ended, and as far as it came when it was
    interrupted.

    ``sure`` says whether what came as answer so far cannot turn out to have been a thought.
    ``top_logprobs`` asks for every token's logprob in ``logprobs``, and for those of that many
    likeliest ones. ``form`` is what the answer must look like. ``loop`` is an endless repetition:
    it ended the answer, or the thought where the answer goes on. ``drafted_tokens`` were guessed
    ahead, of which ``accepted_tokens`` were right. ``ids`` are the answer's, of which the first
    ``resumed_tokens`` are of an answer that was gone on with; all counts but ``completion_tokens``
    and ``reasoning_tokens``, and all times, are of what came after them.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    reasoning: str = ""
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    seed: int = 0
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    text_is_certain: bool = False
    top_logprobs: int | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    constraint: OutputConstraint | None = None
    loop: Loop | None = None
    steering: Steering | None = None
    ids: list[int] = field(default_factory=list)
    resumed_tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        new = self.completion_tokens - self.resumed_tokens
        return new / self.timings.decode if self.timings and self.timings.decode > 0 else 0.0

    @property
    def is_cut(self) -> bool:
        """Whether max_tokens or the context ended it."""
        return self.finish_reason is not None and self.finish_reason.value == "length"

    @property
    def message(self) -> Message:
        """The answer as a message of the conversation."""
        reason = self.finish_reason.value if self.finish_reason else "interrupted"
        cut = "" if reason == "stop" else reason
        return Message("assistant", self.text, self.reasoning, tuple(self.calls), cut=cut)

    def add(self, part: AnswerEvent) -> None:
        match part:
            case Reasoning(text):
                self.reasoning += text
            case Text(text):
                self.text += text
            case Reclassified():
                self.reasoning, self.text = self.text, ""
            case ToolCallStarted(_, name):
                self.calls.append(ToolCall(name, ""))
            case ToolCallArguments(_, text):
                self.calls[-1] = ToolCall(self.calls[-1].name, self.calls[-1].arguments + text)


class AnswerReader:
    """What reads an answer's tokens: whole characters, thought and answer told apart, stop texts,
    loops.
    """

    def __init__(
        self, family: Family, settings: Settings, prompt: Sequence[Segment], model: LlamaModel
    ) -> None:
        from dslocal.engine.utf8 import Utf8Stream

        self._model, self._characters = model, Utf8Stream()
        self.parser, self.loops = make_parser(family, prompt, model), LoopDetector()
        self.stop = StopTexts(settings.stop.value, verbatim=self.parser.verbatim)

    def feed(self, turn: Turn, token: int) -> list[AnswerEvent]:
        """Collects in ``turn`` what ``token`` adds, and returns it."""
        text = self._characters.feed(self._model.piece(token))
        turn.ids.append(token)
        turn.completion_tokens += 1
        turn.reasoning_tokens += self.parser.thinking
        parts = list(self.stop.passed(self.parser.feed(token, text)))
        for part in parts:
            turn.add(part)
        turn.text_is_certain = not self.parser.unsure
        self.loops.feed(token, text)
        return parts

    def finish(self, turn: Turn) -> list[AnswerEvent]:
        """Collects what waits when nothing more comes, and returns it."""
        parts = (
            []
            if self.stop.reached
            else list(self.stop.passed(self.parser.finish(self._characters.flush())))
        )
        parts += self.stop.finish()
        for part in parts:
            turn.add(part)
        return parts


def parse_answer(
    ids: Sequence[int],
    family: Family,
    settings: Settings,
    prompt: Sequence[Segment],
    model: LlamaModel,
) -> Turn:
    """The answer that ``ids`` are, as far as they go, to ``prompt``."""
    turn, reader = Turn(prompt_tokens=0), AnswerReader(family, settings, prompt, model)
    for token in ids:
        reader.feed(turn, token)
    reader.finish(turn)
    return turn


def _take_up(begun: Sequence[int], turn: Turn, reader: AnswerReader, steering: Steering) -> None:
    """Brings everything to where the answer was cut, after ``begun``."""
    turn.resumed_tokens = len(begun)
    for token in begun:
        reader.feed(turn, token)
        if steering.needed:
            steering.accept(token)
    if not steering.needed:
        steering.follow(reader.parser)
    reader.loops.reset()  # whoever goes on with a repetition wants to


def reserved_tokens(settings: Settings, n_ctx: int) -> int:
    """Tokens that a prompt must leave for the answer."""
    return min(settings.max_tokens.value, max(MIN_ANSWER_TOKENS, n_ctx // 4))


def overflow_error(
    context: LlamaContext, settings: Settings, prompt_tokens: int, needed: int | None = None
) -> ContextOverflowError:
    """The error for a prompt that leaves no room: ``needed`` tokens, or what is reserved."""
    return ContextOverflowError(
        f"the prompt is {prompt_tokens:,} tokens and the answer needs room for {needed or reserved_tokens(settings, context.n_ctx):,}; "
        f"the context holds {context.n_ctx:,}",
        hint=f"a larger --ctx, up to {context.model.n_ctx_train:,}, or a shorter prompt",
    )


def stream_answer(
    turn: Turn,
    context: LlamaContext,
    family: Family,
    settings: Settings,
    prompt: Sequence[Segment],
    *,
    ids: Sequence[int] | None = None,
    begun: Sequence[int] = (),
    on_prefill: Callable[[int, int], None] | None = None,
) -> Generator[AnswerEvent]:
    """Generates the answer to ``prompt``, collects it in ``turn`` and yields its parts as they
    come.

    ``ids`` are those of ``prompt`` where they are known already. ``begun`` are ids that the answer
    begins with: they are collected, not yielded, and what follows is what would have followed them.
    ``on_prefill`` is told tokens of the prompt evaluated and to evaluate. Raises
    ContextOverflowError before anything is evaluated, and KeyboardInterrupt on Ctrl-C; what came
    until then is in ``turn``.
    """
    from dslocal.engine import FinishReason, Generation
    from dslocal.engine.grammar.grammar import Grammar

    model = context.model
    ids = encode(prompt, model) if ids is None else ids
    turn.prompt_tokens = len(ids) + len(begun)
    needed = 1 if begun else reserved_tokens(settings, context.n_ctx)
    if turn.prompt_tokens + needed > context.n_ctx:
        raise overflow_error(context, settings, turn.prompt_tokens, needed)
    sampler = make_sampler(settings, turn.seed, model, ids, turn.top_logprobs)
    turn.logprobs = sampler.logprobs  # grows with the answer
    sampler.follow(begun)
    stops = [
        id for special in family.format.stop if (id := model.special(special.token)) is not None
    ]
    generation = Generation(
        context,
        [*ids, *begun],
        sampler,
        max_tokens=settings.max_tokens.value,
        stop=stops,
        on_prefill=on_prefill,
    )
    reader = AnswerReader(family, settings, prompt, model)
    parser, stop, loops = reader.parser, reader.stop, reader.loops
    grammar = Grammar(model, turn.constraint.grammar) if turn.constraint else None
    steering = turn.steering = make_steering(
        family, parser, model, settings.think_budget.value, grammar, stops
    )
    _take_up(begun, turn, reader, steering)
    sampler.constraint = steering if steering.needed else None
    try:
        for token in generation:
            yield from reader.feed(turn, token)
            if loops.found:
                turn.loop = loops.found
                if not steering.thinking:
                    break
                steering.close()  # an answer is worth more than the end of the thought
                loops.reset()
            if stop.ended_in(parser.waiting):
                break
            if sampler.constraint is None:
                steering.follow(parser)
                sampler.constraint = steering if steering.needed else None
        yield from reader.finish(turn)
    finally:
        turn.finish_reason, turn.cached_tokens, turn.timings = (
            generation.finish_reason,
            generation.cached,
            generation.timings,
        )
        turn.drafted_tokens, turn.accepted_tokens = generation.drafted, generation.accepted
        turn.finish_reason = (
            FinishReason.STOP
            if stop.reached
            else FinishReason.LENGTH
            if loops.found
            else turn.finish_reason
        )
        turn.loop = turn.loop or (loops.suspected if turn.is_cut else None)
        turn.logprobs = sampler.logprobs[: turn.completion_tokens - len(begun)]
        if turn.finish_reason is FinishReason.INTERRUPTED:  # perhaps in the midst of a token
            again = parse_answer(turn.ids, family, settings, prompt, model)
            turn.reasoning, turn.text, turn.calls = again.reasoning, again.text, again.calls
