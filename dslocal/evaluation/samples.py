"""Grade the samples of an evaluation: one answer to one problem each.

Every sample has a seed of its own, computed from the evaluation's seed and the positions of the
problem and the sample. So a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dslocal.output.turn import Turn

from .equivalence import is_equivalent
from .extraction import final_answer

NO_ROOM = "no room"  # the finish reason of a sample whose prompt does not fit


@dataclass(frozen=True)
class Sample:
    """One answer to one problem.

    Attributes:
        problem: The problem's place, from 0.
        sample: The sample's place among those of the problem, from 0.
        seed: The seed of the sampler.
        final: The final answer; None where there is none.
        correct: Whether it is the right one.
        finish_reason: Why the answer ended, or NO_ROOM.
        prompt_tokens: Tokens of the prompt.
        cached_tokens: How many of these were in the KV cache already.
        tokens: Tokens of the answer, reasoning included.
        reasoning_tokens: Tokens of the reasoning.
        decode_s: Seconds that the answer took.
        answer: The text of the answer.
        reasoning: The reasoning.
    """

    problem: int
    sample: int
    seed: int
    final: str | None
    correct: bool
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    tokens: int
    reasoning_tokens: int
    decode_s: float
    answer: str
    reasoning: str


def sample_seed(seed: int, problem: int, sample: int) -> int:
    """Return the seed of one sample, below 2³²; ``dslocal ask --seed`` takes it.

    Args:
        seed: The seed of the evaluation.
        problem: The problem's place.
        sample: The sample's place.
    """
    digest = hashlib.sha256(f"{seed} {problem} {sample}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def grade(problem: int, sample: int, turn: Turn, expected: str) -> Sample:
    """Return the sample of an answer that has ended.

    Args:
        problem: The problem's place.
        sample: The sample's place.
        turn: The answer.
        expected: The right final answer.
    """
    if turn.finish_reason is None or turn.timings is None:
        raise ValueError("the answer has not ended")
    final = final_answer(turn.text)
    return Sample(
        problem=problem,
        sample=sample,
        seed=turn.seed,
        final=final,
        correct=final is not None and is_equivalent(final, expected),
        finish_reason=turn.finish_reason.value,
        prompt_tokens=turn.prompt_tokens,
        cached_tokens=turn.cached_tokens,
        tokens=turn.completion_tokens,
        reasoning_tokens=turn.reasoning_tokens,
        decode_s=round(turn.timings.decode, 6),
        answer=turn.text,
        reasoning=turn.reasoning,
    )


def without_room(problem: int, sample: int, seed: int) -> Sample:
    """Return the sample of a problem whose prompt does not fit."""
    return Sample(
        problem=problem,
        sample=sample,
        seed=seed,
        final=None,
        correct=False,
        finish_reason=NO_ROOM,
        prompt_tokens=0,
        cached_tokens=0,
        tokens=0,
        reasoning_tokens=0,
        decode_s=0.0,
        answer="",
        reasoning="",
    )
