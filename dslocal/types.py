"""Small types of packages that do not know each other. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class FileRange(NamedTuple):
    """A piece of a file: ``nbytes`` from byte ``start``."""

    file: str
    start: int
    nbytes: int


class FinishReason(Enum):
    """Why a generation ended, as OpenAI's API names it, and ``interrupted`` for Ctrl-C."""

    STOP = "stop"
    LENGTH = "length"
    INTERRUPTED = "interrupted"


@dataclass
class Timings:
    """Seconds of a generation; ``ttft`` is from the start of the prefill to the first token."""

    prefill: float = 0.0
    decode: float = 0.0
    ttft: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log probabilities at one position of an answer.

    Attributes:
        id: The token that was taken.
        logprob: Its natural log probability.
        top: The likeliest tokens at this position with theirs, best first.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
