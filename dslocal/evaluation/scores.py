"""Compute the scores of an evaluation from its samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .equivalence import is_equivalent, vote
from .samples import NO_ROOM, Sample


@dataclass(frozen=True)
class Scores:
    """The scores of all samples together.

    Attributes:
        pass_at_1: The mean over problems of the share of right samples.
        stderr: The standard error of that mean over problems; None for one problem.
        consensus: The share of problems whose majority answer is right.
        no_answer: Samples without a final answer.
        cut: Samples that were cut by max_tokens or the context.
        no_room: Samples whose prompt does not fit.
        tokens: Tokens of all answers.
        decode_s: Seconds that they took.
    """

    pass_at_1: float
    stderr: float | None
    consensus: float
    no_answer: int
    cut: int
    no_room: int
    tokens: int
    decode_s: float


def score(samples: Sequence[Sample], expected: Sequence[str]) -> Scores:
    """Return the scores of the samples of all problems together.

    Args:
        samples: At least one of each problem.
        expected: The right answers, by problem.
    """
    by_problem: list[list[Sample]] = [[] for _ in expected]
    for sample in samples:
        by_problem[sample.problem].append(sample)
    means = [statistics.fmean(sample.correct for sample in drawn) for drawn in by_problem]
    majorities = [vote([sample.final for sample in drawn]).answer for drawn in by_problem]
    right = sum(
        answer is not None and is_equivalent(answer, wanted)
        for answer, wanted in zip(majorities, expected, strict=True)
    )
    return Scores(
        pass_at_1=statistics.fmean(means),
        stderr=statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None,
        consensus=right / len(expected),
        no_answer=sum(sample.final is None for sample in samples),
        cut=sum(sample.finish_reason == "length" for sample in samples),
        no_room=sum(sample.finish_reason == NO_ROOM for sample in samples),
        tokens=sum(sample.tokens for sample in samples),
        decode_s=sum(sample.decode_s for sample in samples),
    )
