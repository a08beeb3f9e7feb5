"""Small types that several packages share. Imports nothing heavy."""

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
    """Why a generation ended, with the names of OpenAI's API, and ``interrupted`` for Ctrl-C."""

    STOP = "stop"
    LENGTH = "length"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class StreamingUse:
    """Counts of expert reads of a model that is larger than the memory.

    Attributes:
        tokens: Tokens that were evaluated.
        needed_bytes: Bytes of experts that they needed.
        missing_bytes: Needed bytes that were not in memory when the router had chosen.
        ahead_bytes: Bytes that were read ahead, for a later layer.
        guessed: Experts that were predicted for a later layer.
        guessed_right: Predicted experts that the later layer then chose.
        waited_s: Seconds that the computation waited for the disk.
    """

    tokens: int = 0
    needed_bytes: int = 0
    missing_bytes: int = 0
    ahead_bytes: int = 0
    guessed: int = 0
    guessed_right: int = 0
    waited_s: float = 0.0

    def __add__(self, more: StreamingUse) -> StreamingUse:
        """Return the sum of both."""
        return self._combined(more, 1)

    def __sub__(self, earlier: StreamingUse) -> StreamingUse:
        """Return the difference: what was read since ``earlier``."""
        return self._combined(earlier, -1)

    def _combined(self, other: StreamingUse, sign: int) -> StreamingUse:
        return StreamingUse(
            self.tokens + sign * other.tokens,
            self.needed_bytes + sign * other.needed_bytes,
            self.missing_bytes + sign * other.missing_bytes,
            self.ahead_bytes + sign * other.ahead_bytes,
            self.guessed + sign * other.guessed,
            self.guessed_right + sign * other.guessed_right,
            self.waited_s + sign * other.waited_s,
        )

    @property
    def needed_bytes_per_token(self) -> float:
        """Return the bytes of experts that a token needed."""
        return self.needed_bytes / max(1, self.tokens)

    @property
    def read_bytes_per_token(self) -> float:
        """Return the bytes that a token read from the disk."""
        return (self.missing_bytes + self.ahead_bytes) / max(1, self.tokens)

    @property
    def hit_rate(self) -> float:
        """Return the share of the needed bytes that were in memory in time."""
        return 1 - self.missing_bytes / self.needed_bytes if self.needed_bytes else 1.0

    @property
    def waited_s_per_token(self) -> float:
        """Return the seconds that a token waited for the disk."""
        return self.waited_s / max(1, self.tokens)

    def as_json(self) -> dict[str, int | float]:
        """Return the fields that ``--json`` prints, most of them for each token."""
        return {
            "needed_bytes_per_token": round(self.needed_bytes_per_token),
            "read_bytes_per_token": round(self.read_bytes_per_token),
            "hit_rate": round(self.hit_rate, 4),
            "waited_s_per_token": round(self.waited_s_per_token, 6),
            "guessed": self.guessed,
            "guessed_right": self.guessed_right,
        }


@dataclass
class Timings:
    """Seconds of a generation; ``ttft`` is from the start of the prefill to the first token.

    ``streaming`` counts the experts that decoding read; None if the model fits into the memory.
    """

    prefill: float = 0.0
    decode: float = 0.0
    ttft: float = 0.0
    streaming: StreamingUse | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log probabilities at one position of an answer.

    Attributes:
        id: The token that was taken.
        logprob: Its natural log probability.
        top: The likeliest tokens at this position with their log probabilities, best first.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
