"""What came of a generation: names that the engine, chat and the server share. Nothing heavy is
imported for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FinishReason(Enum):
    """Why a generation ended, in the words of OpenAI's interface, and ``interrupted`` for
    Ctrl-C.
    """

    STOP = "stop"
    LENGTH = "length"
    INTERRUPTED = "interrupted"


@dataclass
class Timings:
    """Seconds. ``ttft`` is from the start of the prefill to the first token."""

    prefill: float = 0.0
    decode: float = 0.0
    ttft: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One position: the token that was taken, its natural logarithm of probability, and the
    likeliest ones with theirs, best first.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
