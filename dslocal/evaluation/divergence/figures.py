"""The figures of scored tokens, as llama-perplexity --kl-divergence prints them.

Source: llama.cpp, tools/perplexity/perplexity.cpp (``kl_divergence``): errors are standard errors
of means over tokens, percentiles are interpolated between two tokens where necessary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .log_probabilities import Scores

MIN_COUNT = 11  # tokens from which on llama-perplexity gives an error
PERCENTILES = {
    "p0_1": 0.001,
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.1,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99_9": 0.999,
}

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Spread:
    """How a figure is spread over the tokens; ``p99`` is the 99th percentile."""

    mean: float
    error: float
    minimum: float
    p0_1: float
    p1: float
    p5: float
    p10: float
    median: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    maximum: float


@dataclass(frozen=True)
class QualityFigures:
    """How far a model is from its reference.

    Attributes:
        tokens: The tokens that were scored.
        kl: KL(reference ‖ model) of each token's distribution, in nats.
        same_top: The share of tokens for which both expect the same one most.
        perplexity: The model's.
        reference_perplexity: The reference's. Its log-probabilities are cut 16 below the highest,
            which changes the figure only if the text has a token that is less likely.
        log_perplexity_ratio: The logarithm of the first over the second.
        probability_change: The model's probability of the token that follows minus the reference's.
        rms_probability_change: The root of the mean square of that.
    """

    tokens: int
    kl: Spread
    same_top: Estimate
    perplexity: Estimate
    reference_perplexity: Estimate
    log_perplexity_ratio: Estimate
    probability_change: Spread
    rms_probability_change: Estimate

    def as_json(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return asdict(self)


def figures(scores: Scores) -> QualityFigures:
    """Return the figures of scored tokens, of which there is at least one."""
    count = len(scores)
    nll = scores["nll"].astype(np.float64)
    reference = scores["nll_reference"].astype(np.float64)
    change = (np.exp(-scores["nll"]) - np.exp(-scores["nll_reference"])).astype(np.float64)
    same = float(scores["same_top"].mean())
    return QualityFigures(
        tokens=count,
        kl=_spread(scores["kl"]),
        same_top=Estimate(same, float(np.sqrt(same * (1 - same) / max(1, count - 1)))),
        perplexity=_perplexity(nll),
        reference_perplexity=_perplexity(reference),
        log_perplexity_ratio=_log_ratio(nll, reference),
        probability_change=_spread(change),
        rms_probability_change=_root_mean_square(change),
    )


def _estimate(values: Doubles) -> Estimate:
    count = len(values)
    variance = float(np.square(values).mean() - values.mean() ** 2)
    has_error = variance > 0 and count >= MIN_COUNT
    return Estimate(
        float(values.mean()), float(np.sqrt(variance / (count - 1))) if has_error else 0.0
    )


def _perplexity(nll: Doubles) -> Estimate:
    mean = _estimate(nll)
    value = float(np.exp(mean.value))
    return Estimate(value, value * mean.error)


def _log_ratio(nll: Doubles, reference: Doubles) -> Estimate:
    """Return the difference of two means over the same tokens, whose errors go together."""
    count = len(nll)
    ours, theirs = _estimate(nll), _estimate(reference)
    covariance = 0.0
    if count >= MIN_COUNT - 1:
        covariance = float((nll * reference).mean() - nll.mean() * reference.mean()) / (count - 1)
    variance = ours.error**2 + theirs.error**2 - 2 * covariance
    return Estimate(ours.value - theirs.value, float(np.sqrt(max(0.0, variance))))


def _root_mean_square(values: Doubles) -> Estimate:
    square = _estimate(np.square(values))
    root = float(np.sqrt(square.value))
    return Estimate(root, 0.5 / root * square.error if root else 0.0)


def _spread(values: Doubles) -> Spread:
    mean = _estimate(values)
    ordered = np.sort(values.astype(np.float32))
    middle = len(ordered) // 2
    low = ordered[middle - 1] if len(ordered) % 2 == 0 else ordered[middle]
    return Spread(
        mean=mean.value,
        error=mean.error,
        minimum=float(ordered[0]),
        median=float((ordered[middle] + low) / 2),
        maximum=float(ordered[-1]),
        **{name: _percentile(ordered, share) for name, share in PERCENTILES.items()},
    )


def _percentile(ordered: NDArray[np.float32], share: float) -> float:
    """Return a percentile; its place among the values is float32, as in llama-perplexity."""
    place = np.float32(share) * np.float32(len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    part = float(place - np.float32(below))
    return (1 - part) * float(ordered[below]) + part * float(ordered[above])
