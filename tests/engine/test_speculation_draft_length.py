"""Proves that the number of drafted tokens is the fastest one that was measured: the best length is
found, changes are noticed, and drafting that loses time stops.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

import pytest

from dslocal.engine.speculation.draft_length import (
    FIRST_PAUSE,
    MAX_PAUSE,
    DraftLength,
)

PLAIN = 10.0  # milliseconds of a token without drafts


def play(
    drafting: DraftLength,
    costs: Sequence[float],
    right: Sequence[float],
    tokens: int,
    *,
    seed: int = 0,
    noise: float = 0.0,
) -> tuple[float, int]:
    """Milliseconds that ``tokens`` take, and how many were drafted. ``costs`` by length, ``right``
    by place in a draft.
    """
    dice = random.Random(seed)
    spent = 0.0
    made = drafted = 0
    while made < tokens:
        length = drafting.length()
        accepted = 0
        while accepted < length and dice.random() < right[accepted]:
            accepted += 1
        seconds = costs[length] * (1 + noise * dice.random())
        drafting.record(length, length, accepted, seconds / 1000)
        spent += seconds
        made += accepted + 1
        drafted += length
    return spent, drafted


# milliseconds by number of drafts, chance of each place, and the best length
WORLDS = {
    "a batch costs as much as a token": ((10, 10.5, 11, 11.5), (0.95, 0.9, 0.9), 3),
    "the second guess is poor": ((10, 11, 14, 17), (0.95, 0.3, 0.4), 1),
    "two, then it is over": ((10, 11, 12, 18), (0.9, 0.8, 0.3), 2),
    "it costs what it brings and more": ((10, 21, 31, 41), (0.9, 0.3, 0.3), 0),
    "never right": ((10, 11, 12, 13), (0.0, 0.0, 0.0), 0),
}


@pytest.mark.parametrize(("costs", "right", "best"), WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_the_best_length_is_found_within_a_few_dozen_tokens(
    costs: tuple[float, ...], right: tuple[float, ...], best: int, noise: float
) -> None:
    found = []
    for seed in range(20):
        drafting = DraftLength((1, 2, 3))
        play(drafting, costs, right, 60, seed=seed, noise=noise)
        found.append(drafting.best)
    assert found.count(best) >= 14  # of what is nearly as good, luck may pick the other


class Always(DraftLength):
    """Drafts ``count`` at a time."""

    def __init__(self, count: int) -> None:
        super().__init__((1, 2, 3))
        self.count = count

    def length(self) -> int:
        return self.count


LONG_RUNS = {
    **{name: (costs, right) for name, (costs, right, _) in WORLDS.items()},
    "nano with ballast on a CPU": ((10, 13.5, 17.5, 21), (0.97, 0.62, 0.5)),
    "nano with ballast on a GPU": ((10, 11.2, 12, 12.8), (0.9, 0.7, 0.6)),
    "all lengths nearly alike": ((10, 13, 15.6, 18), (0.9, 0.75, 0.7)),
}


@pytest.mark.parametrize(("costs", "right"), LONG_RUNS.values(), ids=LONG_RUNS)
def test_in_the_long_run_it_is_as_fast_as_the_best_fixed_number(
    costs: tuple[float, ...], right: tuple[float, ...]
) -> None:
    shares = []
    for seed in range(4):
        spent, _ = play(DraftLength((1, 2, 3)), costs, right, 6000, seed=seed, noise=0.1)
        fixed = (
            play(Always(count), costs, right, 6000, seed=seed, noise=0.1) for count in range(4)
        )
        shares.append(min(spent for spent, _ in fixed) / spent)
    assert fmean(shares) > 0.98


def test_where_it_does_not_pay_a_run_loses_almost_nothing() -> None:
    """Proves it for what a small model is like: not expected to gain, tried rarely, and ever more
    so.
    """
    drafting = DraftLength((1, 2, 3), expect=False)
    costs, right = WORLDS["it costs what it brings and more"][:2]
    assert not drafting.active
    spent, drafted = play(drafting, costs, right, FIRST_PAUSE - 1)
    assert spent == pytest.approx(PLAIN * (FIRST_PAUSE - 1))
    assert drafted == 0
    spent, drafted = play(drafting, costs, right, 8 * FIRST_PAUSE)
    assert 0 < drafted < 20
    assert spent < 1.02 * PLAIN * 8 * FIRST_PAUSE
    spent, drafted = play(drafting, costs, right, 10 * MAX_PAUSE)
    assert drafted < 60


def test_a_small_model_that_gains_is_noticed() -> None:
    drafting = DraftLength((1, 2, 3), expect=False)
    play(drafting, *WORLDS["the second guess is poor"][:2], 2 * FIRST_PAUSE)
    assert drafting.best == 1
    assert drafting.active


def test_a_change_is_noticed() -> None:
    """Proves that drafts are given up when they no longer pay, and taken up again when they do."""
    drafting = DraftLength((1, 2, 3))
    gain, loss = (
        WORLDS["the second guess is poor"][:2],
        WORLDS["it costs what it brings and more"][:2],
    )
    play(drafting, *gain, 300)
    assert drafting.best == 1
    play(drafting, *loss, 512)
    assert drafting.best == 0
    play(drafting, *gain, 4 * FIRST_PAUSE)
    assert drafting.best == 1


def test_one_hiccup_decides_nothing() -> None:
    drafting = DraftLength((1, 2, 3))
    for number in range(40):
        length = drafting.length()
        seconds = 0.011 if length else 0.010
        if number % 5 == 2:
            seconds = 1.0
        drafting.record(length, length, min(length, 1), seconds)
    assert drafting.best >= 1


def test_forced_it_always_drafts() -> None:
    drafting = DraftLength((1, 2, 3), optional=False)
    costs, right = WORLDS["never right"][:2]
    assert play(drafting, costs, right, 500)[1] >= 500
    assert drafting.active


def test_cycles_without_a_proposal_count_as_plain_ones() -> None:
    """Proves that a drafter with no idea costs no trial: it waits until there is one."""
    drafting = DraftLength((2, 4))
    for _ in range(50):
        drafting.record(drafting.length(), 0, 0, 0.01)
    assert drafting.active
    assert drafting.rate(0) == pytest.approx(100)
    for _ in range(20):
        length = drafting.length()
        drafting.record(length, length, length, 0.012)
    assert drafting.best == 4


def test_drafts_that_were_not_proposed_count_for_their_length() -> None:
    """Proves it for a drafter that is rarely sure of more than one: asking for three costs and
    brings what one does, and the rest is not believed to come.
    """
    drafting = DraftLength((1, 3))
    for _ in range(200):
        length = drafting.length()
        proposed = min(length, 1)
        drafting.record(length, proposed, proposed, 0.011 if length else 0.010)
    assert drafting.best in (1, 3)
    assert drafting.rate(drafting.best) == pytest.approx(2 / 0.011, rel=0.1)
