"""What the engines have in common: a request for the tokens after some others, answered in chunks.

Each engine's own spelling is in a module of its own: :mod:`.llama_server`, :mod:`.vllm`,
:mod:`.sglang`. What an engine sends is checked there: a value of the wrong type is an
:class:`UnexpectedReplyError`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dslocal.engine.interface import GrammarSource, SamplingParameters
from dslocal.types import TokenLogprobs

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

MAX_ID = 1 << 24
LEAST_LOGPROB = -9999.0  # what OpenAI's API gives for a token that it has none of


class UnexpectedReplyError(Exception):
    """An engine sent something unexpected; the text says what, to be read after "sends"."""


@dataclass(frozen=True)
class ContinuationRequest:
    """Tokens that are wanted after others.

    Attributes:
        model: What the engine calls the model.
        ids: The tokens before.
        max_tokens: How many are wanted at most.
        sampling: How they are drawn.
        stop: Ids that end the answer besides the model's own.
        grammar: What the text must follow; None for anything.
    """

    model: str
    ids: Sequence[int]
    max_tokens: int
    sampling: SamplingParameters
    stop: Collection[int] = ()
    grammar: GrammarSource | None = None


@dataclass(frozen=True, slots=True)
class TokenChunk:
    """What one event of an engine brings.

    Attributes:
        ids: Tokens that are new.
        logprobs: Theirs, where they were asked for; otherwise empty.
        finish: ``stop`` or ``length`` where the engine ended; None while it continues.
        cached: How many tokens of the prompt were evaluated before; None where it does not say.
        prefilled: Tokens of the prompt that are evaluated, and that are to be; None for no news.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: str | None = None
    cached: int | None = None
    prefilled: tuple[int, int] | None = None


class TokenReader(Protocol):
    """Reads the events of one request."""

    def read(self, event: dict[str, Any]) -> TokenChunk:
        """Return what ``event`` brings.

        Raises:
            UnexpectedReplyError: It is not as it should be.
        """


class EngineProtocol(Protocol):
    """The protocol of one kind of engine."""

    @property
    def name(self) -> str:
        """Return what people call it."""

    @property
    def generate_path(self) -> str:
        """Return where requests go."""

    @property
    def grammar_kinds(self) -> Collection[str]:
        """Return what it can hold an answer to."""

    def body(self, request: ContinuationRequest) -> dict[str, Any]:
        """Return a request in the engine's format."""

    def reader(self, request: ContinuationRequest, model: LlamaModel) -> TokenReader:
        """Return what reads the response to ``request``."""

    def tokenize_body(self, model: str, text: str) -> dict[str, Any]:
        """Return the request for the ids of ``text``, in which special tokens are found."""

    def notes(self, sampling: SamplingParameters) -> Sequence[str]:
        """Return how the engine differs from dslocal, one sentence for each difference."""


def integer(value: Any, what: str, *, least: int = 0, most: int = MAX_ID) -> int:
    """Return ``value`` if it is an integer from ``least`` to ``most``. Raises otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UnexpectedReplyError(f"{what} that makes no sense")
    return value


def token_ids(value: Any) -> list[int]:
    """Return ``value`` if it is a list of token ids. Raises otherwise."""
    if not isinstance(value, list):
        raise UnexpectedReplyError("no token ids")
    return [integer(id, "a token id") for id in value]


def number(value: Any, what: str) -> float:
    """Return ``value`` if it is a number, and the least logprob for null. Raises otherwise."""
    if value is None:
        return LEAST_LOGPROB
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnexpectedReplyError(f"{what} that is not a number")
    return max(float(value), LEAST_LOGPROB) if math.isfinite(value) else LEAST_LOGPROB


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """Return ``value`` if it is a list of JSON objects. Raises otherwise."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UnexpectedReplyError(what)
    return value
