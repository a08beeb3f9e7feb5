"""The interface of whatever generates answers: token ids in, token ids out.

There are two of these: a llama.cpp context in this process, and an engine behind a URL
(:mod:`.remote`). Both take a prompt as ids, and give the answer's ids one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from dslocal.types import FinishReason, Timings, TokenLogprobs

if TYPE_CHECKING:
    from .grammar.grammar import Grammar
    from .model import LlamaModel


@dataclass(frozen=True)
class SamplingParameters:
    """How the tokens of one answer are drawn; see :class:`.Sampler`.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: The share of the mass that is kept; 1 keeps all.
        seed: Of the random numbers.
        top_k: How many likeliest tokens are kept; 0 keeps all.
        min_p: The least probability, as a share of the likeliest token's; 0 keeps all.
        presence_penalty: Subtracted from the logits of tokens that came in the answer.
        frequency_penalty: Subtracted once for every time that a token came in the answer.
        repeat_penalty: Divides the logits of tokens in prompt and answer.
        logit_bias: Is added to logits, by token id.
        logprobs: How many likeliest tokens are listed with each token; None records nothing.
    """

    temperature: float
    top_p: float
    seed: int
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None


@dataclass(frozen=True)
class GenerationRequest:
    """One answer that is wanted.

    Attributes:
        prompt: The prompt's token ids.
        partial: Token ids that the answer begins with; what follows them is generated.
        sampling: How tokens are drawn.
        max_tokens: Tokens that are generated at most.
        stop: Ids that end the answer besides the model's own; they are not yielded.
        on_prefill: Receives the tokens of the prompt that are evaluated, and that are to be.
    """

    prompt: Sequence[int]
    partial: Sequence[int]
    sampling: SamplingParameters
    max_tokens: int
    stop: Collection[int] = ()
    on_prefill: Callable[[int, int], None] | None = None


class GrammarSource(NamedTuple):
    """What a grammar was made from, as engines that make their own understand it.

    Attributes:
        kind: What ``value`` is.
        value: A JSON Schema, the text of a grammar or of a regular expression, or a list of texts.
    """

    kind: Literal["json_schema", "gbnf", "regex", "choices"]
    value: Any


class AnswerGrammar(Protocol):
    """Decides which tokens of an answer's text may come next."""

    @property
    def end_tokens(self) -> Sequence[int]:
        """Return the ids that end an answer."""

    def mask(self, logits: Any) -> None:
        """Set the logits of tokens that may not come next to -inf: float32 ``[n_vocab]``."""

    def allowed(self, ids: Any) -> Any:
        """Return which of ``ids`` may come next: bool ``[ids]``."""

    def accept(self, token: int) -> None:
        """Continue after ``token``."""


class AnswerSteering(Protocol):
    """Holds one answer to its grammar, and closes its reasoning.

    Attributes:
        is_reasoning: Whether the reasoning is open.
        is_undecided: Whether the answer may still begin with reasoning.
        grammar: What the text must follow; None for anything.
    """

    is_reasoning: bool
    is_undecided: bool
    grammar: AnswerGrammar | None

    def mask(self, logits: Any) -> None:
        """Set the logits of what may not come next to -inf: float32 ``[n_vocab]``."""

    def allowed(self, ids: Any) -> Any:
        """Return which of ``ids`` may come next: bool ``[ids]``."""

    def accept(self, token: int) -> None:
        """Continue after ``token``."""

    def next_forced(self) -> int | None:
        """Return the only token that may come; None where there is a choice."""

    def opens_reasoning(self, token: int) -> bool:
        """Return whether ``token`` opens the reasoning at the start of an answer."""

    def begin_text(self) -> None:
        """Decide that the answer begins without reasoning."""

    def close_reasoning(self) -> None:
        """Close the reasoning with the next token. From any thread."""


class TokenStream(Protocol):
    """One answer while it is made: iterate over it for token ids.

    Attributes:
        finish_reason: Why it ended; ``INTERRUPTED`` until then.
        cached: How many tokens of the prompt were evaluated already.
        drafted: How many tokens were drafted and evaluated.
        accepted: How many of those were right.
        timings: Seconds of prefill and decoding, complete at the end.
        steering: What decides which tokens may come next; may be set between two tokens.
    """

    finish_reason: FinishReason
    cached: int
    drafted: int
    accepted: int
    timings: Timings
    steering: AnswerSteering | None

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        """Return one entry a token, if they were asked for. The list grows with the answer."""

    def __iter__(self) -> Iterator[int]:
        """Yield the answer's token ids.

        Raises:
            KeyboardInterrupt: on Ctrl-C.
            EngineError: if the engine fails.
        """


class AbortSwitch(Protocol):
    """Ends what a context is doing, from any thread."""

    def set(self) -> None:
        """End it, and whatever starts until :meth:`clear`."""

    def clear(self) -> None:
        """Let the context work again."""

    def is_set(self) -> bool:
        """Return whether it is set."""


class EngineContext(Protocol):
    """Where the answers of one conversation are generated, one at a time."""

    @property
    def model(self) -> LlamaModel:
        """Return the model, or its vocabulary alone."""

    @property
    def n_ctx(self) -> int:
        """Return the tokens that prompt and answer may have together."""

    @property
    def ids(self) -> list[int]:
        """Return the tokens that are evaluated, as far as is known."""

    @property
    def abort(self) -> AbortSwitch:
        """Return what ends a generation from another thread."""

    @property
    def title(self) -> str:
        """Return what generates, in a few words."""

    @property
    def destination(self) -> str:
        """Return where text goes, for people; empty where it stays in this process."""

    @property
    def overflow_hint(self) -> str:
        """Return what helps where a prompt is too long."""

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Return an answer, which iteration starts."""

    def grammar(
        self, text: str, source: GrammarSource | None, compiled: Grammar | None = None
    ) -> AnswerGrammar:
        """Return the state of one answer in a grammar.

        Args:
            text: The grammar.
            source: What it was made from; None where that is nothing that other engines know.
            compiled: The same where it is compiled already.

        Raises:
            UsageError: The grammar is too complex, or the engine cannot hold an answer to it.
        """

    def clear(self) -> None:
        """Forget what is evaluated."""
