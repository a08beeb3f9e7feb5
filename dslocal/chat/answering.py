"""One answer to one prompt: generated, read as reasoning, answer and calls, and collected in a :class:`Turn`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ContextOverflowError
from .calls import CallArguments, CallBegun
from .families import Family
from .loops import Loop, LoopDetector
from .messages import Call, Message, Segment, encode
from .reasoning import Answer, Part, Reasoning, Reclassified, parser_for
from .sampling import sampler_for
from .schema import Form
from .settings import Settings
from .steering import Steering, steering_for
from .stopping import StopTexts

if TYPE_CHECKING:
    from ..engine import Context, FinishReason, Timings, TokenLogprobs

LEAST_ANSWER = 256  # tokens that a prompt must leave, at the least


@dataclass
class Turn:
    """One answer. Complete once the stream has ended, and as far as it came when it was interrupted.

    ``sure`` says whether what came as answer so far cannot turn out to have been a thought. ``top_logprobs`` asks for every
    token's logprob in ``logprobs``, and for those of that many likeliest ones. ``form`` is what the answer must look like. ``loop`` is
    an endless repetition: it ended the answer, or the thought where the answer goes on. ``drafted_tokens`` were guessed ahead, of which
    ``accepted_tokens`` were right.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    reasoning: str = ""
    answer: str = ""
    calls: list[Call] = field(default_factory=list)
    seed: int = 0
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    sure: bool = False
    top_logprobs: int | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    form: Form | None = None
    loop: Loop | None = None
    steering: Steering | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.completion_tokens / self.timings.decode if self.timings and self.timings.decode > 0 else 0.0

    @property
    def cut(self) -> bool:
        """Whether max_tokens or the context ended it."""
        return self.finish_reason is not None and self.finish_reason.value == "length"

    @property
    def message(self) -> Message:
        """The answer as a message of the conversation."""
        return Message("assistant", self.answer, self.reasoning, tuple(self.calls))

    def collect(self, part: Part) -> None:
        match part:
            case Reasoning(text):
                self.reasoning += text
            case Answer(text):
                self.answer += text
            case Reclassified():
                self.reasoning, self.answer = self.answer, ""
            case CallBegun(_, name):
                self.calls.append(Call(name, ""))
            case CallArguments(_, text):
                self.calls[-1] = Call(self.calls[-1].name, self.calls[-1].arguments + text)


def reserve(settings: Settings, n_ctx: int) -> int:
    """Tokens that a prompt must leave for the answer."""
    return min(settings.max_tokens.value, max(LEAST_ANSWER, n_ctx // 4))


def overflow(context: Context, settings: Settings, prompt_tokens: int) -> ContextOverflowError:
    """The error for a prompt that leaves no room."""
    return ContextOverflowError(
        f"the prompt is {prompt_tokens:,} tokens and the answer needs room for {reserve(settings, context.n_ctx):,}; "
        f"the context holds {context.n_ctx:,}",
        hint=f"a larger --ctx, up to {context.model.n_ctx_train:,}, or a shorter prompt",
    )


def answer(
    turn: Turn,
    context: Context,
    family: Family,
    settings: Settings,
    prompt: Sequence[Segment],
    *,
    ids: Sequence[int] | None = None,
    on_prefill: Callable[[int, int], None] | None = None,
) -> Generator[Part]:
    """Generates the answer to ``prompt``, collects it in ``turn`` and yields its parts as they come.

    ``ids`` are those of ``prompt`` where they are known already. ``on_prefill`` is told tokens of the prompt evaluated and to
    evaluate. Raises ContextOverflowError before anything is evaluated, and KeyboardInterrupt on Ctrl-C; what came until then is
    in ``turn``.
    """
    from ..engine import FinishReason, Generation
    from ..engine.grammar import Grammar
    from ..engine.text import Utf8Stream

    model = context.model
    ids = encode(prompt, model) if ids is None else ids
    turn.prompt_tokens = len(ids)
    if len(ids) + reserve(settings, context.n_ctx) > context.n_ctx:
        raise overflow(context, settings, len(ids))
    sampler = sampler_for(settings, turn.seed, model, ids, turn.top_logprobs)
    stops = [id for special in family.format.stop if (id := model.special(special.token)) is not None]
    generation = Generation(
        context,
        ids,
        sampler,
        max_tokens=settings.max_tokens.value,
        stop=stops,
        on_prefill=on_prefill,
    )
    parser, characters = parser_for(family, prompt, model), Utf8Stream()
    stop, loops = StopTexts(settings.stop.value, verbatim=parser.verbatim), LoopDetector()
    grammar = Grammar(model, turn.form.grammar) if turn.form else None
    steering = turn.steering = steering_for(family, parser, model, settings.think_budget.value, grammar, stops)
    sampler.constraint = steering if steering.needed else None
    try:
        for token in generation:
            text = characters.feed(model.piece(token))
            turn.completion_tokens += 1
            turn.reasoning_tokens += parser.thinking
            for part in stop.passed(parser.feed(token, text)):
                turn.collect(part)
                turn.sure = not parser.unsure
                yield part
            loops.feed(token, text)
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
        if not stop.reached:
            for part in (*stop.passed(parser.finish(characters.flush())), *stop.finish()):
                turn.collect(part)
                yield part
    finally:
        for part in stop.finish():  # of an answer that was interrupted
            turn.collect(part)
        turn.finish_reason, turn.cached_tokens, turn.timings = generation.finish_reason, generation.cached, generation.timings
        turn.drafted_tokens, turn.accepted_tokens = generation.drafted, generation.accepted
        turn.finish_reason = FinishReason.STOP if stop.reached else FinishReason.LENGTH if loops.found else turn.finish_reason
        turn.loop = turn.loop or (loops.suspected if turn.cut else None)
        turn.logprobs = sampler.logprobs[: turn.completion_tokens]
