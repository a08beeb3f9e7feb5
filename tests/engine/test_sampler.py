"""Proves that sampling is exact: the set that is kept, the proportions it is drawn in, and the
replay from a seed.

The reference sorts everything, in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support.engine.logit_kinds import KINDS, Floats, logits_of

from dslocal.engine import Sampler
from dslocal.engine.sampling.nucleus import MAX_CANDIDATES, Nucleus
from dslocal.errors import EngineError

SLACK = 1e-6  # of the whole probability: float32 weights, against float64 ones
# temperature, top-k, top-p, min-p
FILTERS = [
    (0.6, 0, 0.95, 0.0),
    (1.0, 0, 0.5, 0.0),
    (0.6, 0, 0.999, 0.0),
    (1.3, 0, 0.05, 0.0),
    (0.6, 40, 1.0, 0.0),
    (1.0, 40, 0.9, 0.0),
    (2.0, 0, 1.0, 0.02),
    (0.8, 0, 0.97, 0.1),
    (1.0, 300, 0.9, 0.01),
    (0.7, 9000, 0.99, 0.0),
    (5.0, 1, 0.95, 0.5),
    (0.05, 20000, 1.0, 1e-4),
]
# size and how many of each kind: 1,000 vectors of ten kinds together
VOCABULARIES = {1: 2, 2: 3, 7: 9, 100: 40, 4096: 24, 20001: 18, 129280: 4}


def vectors(n: int) -> Iterator[tuple[str, Floats, tuple[float, int, float, float]]]:
    for place, (kind, seed) in enumerate(itertools.product(KINDS, range(VOCABULARIES[n]))):
        yield f"{kind} {seed}", logits_of(kind, n, seed), FILTERS[place % len(FILTERS)]


def ranked(logits: Floats, temperature: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ids from the likeliest down, lower ids first among equals, and their weights, the first being
    1.
    """
    order = np.lexsort((np.arange(len(logits)), -logits.astype(np.float64)))
    scaled = logits.astype(np.float64)[order] / temperature
    return order, np.exp(scaled - scaled[0])


def left(
    weights: NDArray[np.float64], top_k: int, top_p: float, min_p: float, slack: float = 0.0
) -> int:
    """How many of the likeliest the three filters leave, as their definitions say. ``slack`` moves
    the cuts.
    """
    weights = weights[weights > 0]
    if top_k:
        weights = weights[:top_k]
    n = len(weights)
    if top_p < 1:
        share = np.cumsum(weights) / weights.sum()
        n = min(int((share < top_p - slack).sum()) + 1, n)
    return max(1, min(n, int((weights >= min_p * (1 + slack)).sum())))


@pytest.mark.parametrize("n", VOCABULARIES)
def test_what_is_kept_is_the_smallest_set(n: int) -> None:
    """A token may go either way only where float32's precision decides; nothing else may."""
    for name, logits, (temperature, top_k, top_p, min_p) in vectors(n):
        kept = Sampler(temperature, top_p, 0, top_k=top_k, min_p=min_p).candidates(logits)
        order, weights = ranked(logits, temperature)
        least, most = (left(weights, top_k, top_p, min_p, slack) for slack in (SLACK, -SLACK))
        assert least <= len(kept) <= most, (name, temperature, top_k, top_p, min_p)
        assert set(kept.tolist()) == set(order[: len(kept)].tolist()), name
        assert len(kept) == len(set(kept.tolist())), name
        assert (
            logits[Sampler(temperature, top_p, 1, top_k=top_k, min_p=min_p).sample(logits)]
            >= logits[kept].min()
        ), name


@pytest.mark.parametrize("n", VOCABULARIES)
def test_a_look_that_finds_one_token_is_right(n: int) -> None:
    """It may not see that only one is kept, but where it says so, that is the one."""
    certain = kept_alone = 0
    for name, logits, filters in vectors(n):
        for sharper in (1, 5):
            scaled = (logits * np.float32(sharper)).astype(np.float32)
            if not np.isfinite(scaled.max()):
                continue
            nucleus = Nucleus(*filters)
            kept = nucleus.kept_ids(scaled, float(scaled.max()))
            is_certain = nucleus.keeps_one(scaled, float(scaled.max()))
            if is_certain:
                assert kept.tolist() == [int(scaled.argmax())], name
            certain += is_certain
            kept_alone += len(kept) == 1
    assert certain > 0.5 * kept_alone


def test_there_are_a_thousand_of_them() -> None:
    assert sum(VOCABULARIES.values()) * len(KINDS) == 1000


def test_every_way_of_cutting_is_tried() -> None:
    """Few candidates, many of them, and few where the others could matter."""
    few, flat = logits_of("peaked", 129280, 0), logits_of("flat", 129280, 0)
    assert (
        len(Sampler(0.6, 0.95, 0).candidates(few))
        < MAX_CANDIDATES
        < len(Sampler(0.6, 0.95, 0).candidates(flat))
    )
    assert Nucleus(0.6, 0, 0.95, 0).few_candidates(few, float(few.max())) is not None
    assert Nucleus(0.6, 0, 0.9999999, 0).few_candidates(few, float(few.max())) is None
    assert Nucleus(0.6, 0, 0.95, 0).few_candidates(flat, float(flat.max())) is None


def test_a_sample_that_misleads_costs_time_and_no_token() -> None:
    """Every 64th token, which is what the search for the cut looks at first, is unlike all others:
    likelier, or less likely.
    """
    for shift in (-6.0, 6.0):
        logits = logits_of("normal", 40000, 1)
        logits[::64] += np.float32(shift)
        order, weights = ranked(logits, 1.0)
        for top_p in (0.1, 0.5, 0.95):
            kept = Sampler(1.0, top_p, 0).candidates(logits)
            assert abs(len(kept) - left(weights, 0, top_p, 0.0)) <= 1
            assert set(kept.tolist()) == set(order[: len(kept)].tolist())


def draws(sampler: Sampler, logits: Floats, n: int) -> list[int]:
    return [sampler.sample(logits) for _ in range(n)]


def test_temperature_comes_before_top_p() -> None:
    """At temperature 1 the first token has 0.6 and is the whole nucleus; at 2 it has 0.42, so a
    second one is kept.
    """
    logits = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    assert set(draws(Sampler(1, 0.5, 1), logits, 300)) == {0}
    assert set(draws(Sampler(2, 0.5, 1), logits, 300)) == {0, 1}
    assert set(draws(Sampler(0.5, 0.75, 1), logits, 300)) == {0}  # cutting first would keep two


def test_top_p_is_a_share_of_what_top_k_left() -> None:
    """The two likeliest have 0.4 and 0.3 of all, so 0.57 and 0.43 of the two: 0.55 needs one of
    two, and two of all.
    """
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    assert set(draws(Sampler(1, 0.55, 1, top_k=2), logits, 300)) == {0}
    assert set(draws(Sampler(1, 0.55, 1), logits, 300)) == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_temperature_zero_takes_the_likeliest(kind: str) -> None:
    logits = logits_of(kind, 4096, 5)
    best = int(np.flatnonzero(logits == logits.max())[0])
    assert set(draws(Sampler(0, 0.95, 1), logits, 3)) == {best}


def test_what_cannot_be_is_never_drawn() -> None:
    logits = np.array([0, 1, -np.inf, 2], np.float32)
    for more in ({}, {"top_k": 4}, {"min_p": 1e-9}):
        assert set(draws(Sampler(1, 1, 3, **more), logits, 500)) == {0, 1, 3}


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.95, 1])
@pytest.mark.parametrize("n", [1000, 20000])
def test_one_certain_token(n: int, top_p: float) -> None:
    logits = np.full(n, -np.inf, np.float32)
    logits[123] = -50
    assert set(draws(Sampler(0.6, top_p, 3), logits, 50)) == {123}


def test_logits_are_left_as_they_are() -> None:
    logits = logits_of("peaked", 4096, 1)
    before = logits.copy()
    draws(
        Sampler(
            0.6,
            0.95,
            1,
            top_k=5,
            presence_penalty=1,
            repeat_penalty=1.3,
            logit_bias={3: 5},
            logprobs=3,
        ),
        logits,
        3,
    )
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("logits", [[np.nan, 1.0], [1.0, np.inf], [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_not_numbers(logits: list[float], temperature: float) -> None:
    with pytest.raises(EngineError, match="the model's logits are not numbers"):
        Sampler(temperature, 0.95, 1).sample(np.array(logits, np.float32))


REPLAYED = [
    {},
    {"top_k": 20},
    {"min_p": 0.05},
    {"top_p": 1.0},
    {"temperature": 3.0},
    {"presence_penalty": 0.5, "frequency_penalty": 0.2},
    {"repeat_penalty": 1.2, "prompt": (1, 2, 3)},
    {"logit_bias": {7: 3.0}, "top_k": 100, "min_p": 0.01, "logprobs": 2},
]


@pytest.mark.parametrize("more", REPLAYED, ids=lambda more: " ".join(more) or "plain")
@pytest.mark.parametrize("n", [4096, 20000])
def test_the_seed_decides(n: int, more: dict[str, float]) -> None:
    """Same seed and logits, same ids, whatever other sampler drew in between."""

    def sampler(seed: int) -> Sampler:
        settings: dict[str, float] = {"temperature": 1.0, "top_p": 0.95, "seed": seed, **more}
        return Sampler(**settings)  # type: ignore[arg-type]

    steps = [logits_of("normal", n, seed) for seed in range(12)]
    first, again = sampler(7), sampler(7)
    other = sampler(8)
    drawn = [[s.sample(logits) for s in (first, other, again)] for logits in steps]
    assert [one for one, _, _ in drawn] == [same for _, _, same in drawn]
    assert [one for one, _, _ in drawn] != [different for _, different, _ in drawn]


@pytest.mark.parametrize("more", REPLAYED, ids=lambda more: " ".join(more) or "plain")
def test_a_token_costs_one_number(more: dict[str, float]) -> None:
    """Whatever the settings and logits of the first 30 tokens, the 31st is drawn by the same
    number.
    """
    fair = np.zeros(2, np.float32)
    settings: dict[str, float] = {"temperature": 1.0, "top_p": 0.95, "seed": 5, **more}
    sampler, plain = Sampler(**settings), Sampler(1.0, 1.0, 5)  # type: ignore[arg-type]
    for seed in range(30):
        sampler.sample(logits_of(KINDS[seed % len(KINDS)], 9000, seed))
        plain.sample(fair)
    assert sampler._random.random() == plain._random.random()


def chi_square(seen: NDArray[np.intp], expected: NDArray[np.float64]) -> tuple[float, float]:
    """Pearson's statistic and the 99.99 % quantile for its degrees of freedom, by Wilson's and
    Hilferty's normal approximation.
    """
    freedom = len(expected) - 1
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return statistic, freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    [(1.0, 0, 1.0, 0.0), (0.6, 0, 0.95, 0.0), (1.5, 12, 0.98, 0.01)],
)
def test_frequencies(temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    """200,001 draws over 40 tokens, three ways."""
    n = 66_667
    logits = logits_of("peaked", 40, 11) / np.float32(4)
    order, weights = ranked(logits, temperature)
    kept = left(weights, top_k, top_p, min_p)
    seen = np.bincount(
        draws(Sampler(temperature, top_p, 2024, top_k=top_k, min_p=min_p), logits, n), minlength=40
    )
    assert not seen[order[kept:]].any()
    assert kept > 4
    statistic, bound = chi_square(seen[order[:kept]], weights[:kept] / weights[:kept].sum() * n)
    assert statistic < bound


@pytest.mark.parametrize("top_p", [0.95, pytest.param(0.7, marks=pytest.mark.slow)])
def test_frequencies_of_many(top_p: float) -> None:
    """50,000 draws over 20,000 tokens, counted in 50 groups of ids; a twentieth of them, and a
    third, need the exact cut.
    """
    n = 50_000
    logits = logits_of("normal", 20_000, 3)
    order, weights = ranked(logits, 0.6)
    kept = left(weights, 0, top_p, 0)
    share = np.zeros(20_000)
    share[order[:kept]] = weights[:kept] / weights[:kept].sum()
    dice = np.random.default_rng(1)
    nucleus, top = Nucleus(0.6, 0, top_p, 0), float(logits.max())
    assert nucleus.few_candidates(logits, top) is None
    drawn = [nucleus.draw(logits, top, at) for at in dice.random(n)]
    seen = np.bincount(drawn, minlength=20_000)
    assert not seen[share == 0].any()
    statistic, bound = chi_square(
        seen.reshape(50, -1).sum(axis=1), share.reshape(50, -1).sum(axis=1) * n
    )
    assert statistic < bound
