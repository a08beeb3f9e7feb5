"""Proves what is done to logits before the cut (biases, penalties, constraints), and what is
reported of them (logprobs).

Each against its formula, written out in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from support.engine.logit_kinds import KINDS, Floats, logits_of

from dslocal.engine import Sampler
from dslocal.engine.sampling.penalties import Penalties
from dslocal.engine.sampling.sampler import SelectiveConstraint
from dslocal.errors import EngineError

Doubles = NDArray[np.float64]


def adjusted(
    logits: Floats,
    prompt: Sequence[int],
    answer: Sequence[int],
    presence: float,
    frequency: float,
    repeat: float,
    bias: dict[int, float],
) -> Doubles:
    """Bias added; then z / r or z * r for tokens of prompt and answer; then minus count * frequency
    + (count > 0) * presence.
    """
    found, counts = logits.astype(np.float64), Counter(answer)
    for token, value in bias.items():
        found[token] += value
    if repeat != 1:
        for token in {*prompt, *answer}:
            found[token] = found[token] / repeat if found[token] > 0 else found[token] * repeat
    for token, count in counts.items():
        found[token] -= count * frequency + presence
    return found


# presence, frequency, repeat, bias
ADJUSTMENTS: dict[str, tuple[float, float, float, dict[int, float]]] = {
    "presence": (0.7, 0.0, 1.0, {}),
    "frequency": (0.0, 0.3, 1.0, {}),
    "both, that encourage": (-0.5, -0.2, 1.0, {}),
    "repeat": (0.0, 0.0, 1.3, {}),
    "repeat, that encourages": (0.0, 0.0, 0.8, {}),
    "bias": (0.0, 0.0, 1.0, {3: 5.0, 50: -100.0}),
    "all": (0.4, 0.1, 1.2, {0: -3.0, 7: 2.5, 99: 100.0}),
}


@pytest.mark.parametrize(
    ("presence", "frequency", "repeat", "bias"), ADJUSTMENTS.values(), ids=ADJUSTMENTS
)
def test_adjustments(
    presence: float, frequency: float, repeat: float, bias: dict[int, float]
) -> None:
    """After prompt and answer of every length up to 150 tokens over a vocabulary of 100, with a
    banned token among them.
    """
    dice = np.random.default_rng(1)
    prompt, answer = dice.integers(0, 100, 30).tolist(), dice.integers(0, 100, 150).tolist()
    penalties = Penalties(presence, frequency, repeat, bias, prompt)
    for length in range(len(answer)):
        logits = logits_of("normal", 100, length) * np.float32(4)
        logits[11] = -np.inf
        expected = adjusted(logits, prompt, answer[:length], presence, frequency, repeat, bias)
        penalties.apply(logits)
        np.testing.assert_allclose(logits, expected, rtol=2e-6, atol=2e-6)
        penalties.accept(answer[length])


@pytest.mark.parametrize(
    ("presence", "frequency", "repeat", "bias"), ADJUSTMENTS.values(), ids=ADJUSTMENTS
)
def test_the_sampler_counts_what_it_draws(
    presence: float, frequency: float, repeat: float, bias: dict[int, float]
) -> None:
    """At temperature 0, 100 tokens of one unchanging vector: each is the likeliest after the
    penalties on those before.
    """
    logits, prompt = logits_of("normal", 100, 2) * np.float32(2), [1, 2, 3]
    more = {"presence_penalty": presence, "frequency_penalty": frequency, "repeat_penalty": repeat}
    sampler = Sampler(0, 1, 0, logit_bias=bias, prompt=prompt, **more)  # type: ignore[arg-type]
    answer: list[int] = []
    for _ in range(100):
        expected = adjusted(logits, prompt, answer, presence, frequency, repeat, bias)
        answer.append(sampler.sample(logits))
        assert expected[answer[-1]] >= expected.max() - 1e-5
    assert logits.argmax() in answer or bias


def test_temperature_comes_after_the_penalties() -> None:
    """A presence penalty of ln 2 halves a token's odds at temperature 1, and makes a quarter of
    them at 0.5.
    """
    for temperature, odds in ((1.0, 0.5), (0.5, 0.25)):
        sampler = Sampler(temperature, 1, 1, presence_penalty=float(np.log(2)))
        while sampler.sample(np.array([0, -np.inf], np.float32)) != 0:
            pass
        nucleus = sampler._nucleus
        nucleus.draw(*_with_top(sampler, np.zeros(2, np.float32)), 0.5)
        weights = [nucleus._weights.weight_of(token) for token in range(2)]
        assert np.isclose(weights[0] / weights[1], odds)


def _with_top(sampler: Sampler, logits: Floats) -> tuple[Floats, float]:
    possible, best = sampler._possible(logits)
    return possible, float(possible[best])


@pytest.mark.parametrize("top", [0, 1, 5, 20, 5000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3, 1000, 20000])
def test_logprobs(n: int, kind: str, top: int) -> None:
    """Of the raw logits at temperature 1, whatever is done to them: log-softmax in float64."""
    logits = logits_of(kind, n, 4)
    scaled = logits.astype(np.float64) - float(logits.max())
    expected = scaled - np.log(np.exp(scaled).sum())
    sampler = Sampler(
        2.0, 0.9, 1, top_k=3, logit_bias={0: -5}, repeat_penalty=1.5, prompt=[0], logprobs=top
    )
    token = sampler.sample(logits)
    (found,) = sampler.logprobs
    assert (found.id, len(found.top)) == (token, min(top, int((logits > -np.inf).sum())))
    np.testing.assert_allclose(found.logprob, expected[token], rtol=1e-6, atol=1e-6)
    order = np.lexsort((np.arange(n), -logits.astype(np.float64)))[: len(found.top)]
    assert [id for id, _ in found.top] == order.tolist()
    np.testing.assert_allclose(
        [logprob for _, logprob in found.top], expected[order], rtol=1e-6, atol=1e-6
    )


def test_logprobs_are_kept_only_when_asked_for() -> None:
    silent, asked = Sampler(1, 1, 1), Sampler(1, 1, 1, logprobs=0)
    for sampler in (silent, asked):
        for _ in range(3):
            sampler.sample(logits_of("normal", 50, 1))
    assert (len(silent.logprobs), len(asked.logprobs)) == (0, 3)


class Only:
    """Allows some ids, and notes what was accepted."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        self.accepted: list[int] = []
        self.masks = 0

    def mask(self, logits: Floats) -> None:
        self.masks += 1
        kept = logits[self.ids].copy()
        logits[:] = -np.inf
        logits[self.ids] = kept

    def accept(self, token: int) -> None:
        self.accepted.append(token)


class OnlyAsked(Only):
    """The same, and it answers for a few ids at a time."""

    def allowed(self, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.isin(ids, self.ids)


CUTS = [
    (0.6, 0, 0.95, 0.0),
    (1.0, 3, 0.9, 0.0),
    (1.0, 0, 1.0, 0.05),
    (0.6, 0, 1.0, 0.0),
    (0.0, 0, 0.95, 0.0),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "min_p"), CUTS)
@pytest.mark.parametrize("kind", ["peaked", "normal", "zipf", "ties", "one hot"])
@pytest.mark.parametrize("n", [200, 20000])
def test_a_constraint_comes_first(
    n: int, kind: str, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    """What is drawn is what would be drawn from logits in which only the allowed ids are possible;
    asked for a few or for all.
    """
    dice = np.random.default_rng(9)
    for seed in range(4):
        logits = logits_of(kind, n, seed)
        ids = dice.choice(n, (1, 10, n // 2, n - 1)[seed], replace=False).tolist()
        allowed = np.full(n, -np.inf, np.float32)
        allowed[ids] = logits[ids]
        settings = {"top_k": top_k, "min_p": min_p}
        plain = Sampler(temperature, top_p, seed, **settings)  # type: ignore[arg-type]
        masked = Sampler(temperature, top_p, seed, **settings)  # type: ignore[arg-type]
        asked = Sampler(temperature, top_p, seed, **settings)  # type: ignore[arg-type]
        masked.constraint = Only(ids)
        asked.constraint = OnlyAsked(ids)
        assert set(masked.candidates(logits).tolist()) == set(plain.candidates(allowed).tolist())
        drawn = [
            [sampler.sample(given) for _ in range(40)]
            for sampler, given in ((plain, allowed), (masked, logits), (asked, logits))
        ]
        assert drawn[0] == drawn[1]
        assert set(drawn[2]) <= set(plain.candidates(allowed).tolist())
        assert asked.constraint.accepted == drawn[2]
        assert plain._random.random() == asked._random.random()


def test_a_constraint_that_can_be_asked_is_drawn_from_alike() -> None:
    """10,000 draws over 12 tokens, of which the likeliest is not allowed."""
    logits = np.linspace(3, 0, 12, dtype=np.float32)
    sampler, n = Sampler(1, 0.9, 3), 10_000
    sampler.constraint = OnlyAsked([1, 2, 4, 5, 8])
    assert isinstance(sampler.constraint, SelectiveConstraint)
    weights = np.exp(logits.astype(np.float64))[[1, 2, 4, 5]]
    assert weights[:3].sum() < 0.9 * np.exp(logits[[1, 2, 4, 5, 8]]).sum() <= weights.sum()
    seen = np.bincount([sampler.sample(logits) for _ in range(n)], minlength=12)
    assert seen[[0, 3, 6, 7, 8, 9, 10, 11]].sum() == 0
    expected = weights / weights.sum() * n
    assert (
        float(((seen[[1, 2, 4, 5]] - expected) ** 2 / expected).sum()) < 21.1
    )  # 99.99 % of chi-square with 3 degrees of freedom


def test_most_positions_need_no_mask() -> None:
    logits = logits_of("peaked", 129280, 1)
    sampler, constraint = Sampler(0.6, 0.95, 1), OnlyAsked(range(0, 129280, 2))
    sampler.constraint = constraint
    for _ in range(5):
        assert sampler.sample(logits) % 2 == 0
    assert constraint.masks == 0


def test_a_constraint_comes_and_goes() -> None:
    """Attached and detached in mid-generation, with penalties and logprobs on."""
    logits = logits_of("peaked", 300, 1)
    best = int(logits.argmax())
    other = (best + 1) % 300
    sampler, constraint = Sampler(0, 1, 1, repeat_penalty=1.001, logprobs=1), Only([other])
    drawn = []
    for attached in (None, constraint, None):
        sampler.constraint = attached
        drawn.append(sampler.sample(logits))
    assert drawn == [best, other, best]
    assert constraint.accepted == [other]
    assert [entry.id for entry in sampler.logprobs] == drawn
    assert {entry.top[0][0] for entry in sampler.logprobs} == {best}


@pytest.mark.parametrize("more", [{}, {"presence_penalty": 1.0}], ids=["plain", "penalised"])
@pytest.mark.parametrize("constraint", [Only([]), OnlyAsked([])], ids=["masked", "asked"])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_constraint_that_allows_nothing(
    temperature: float, constraint: Only, more: dict[str, float]
) -> None:
    sampler = Sampler(temperature, 0.95, 1, **more)  # type: ignore[arg-type]
    sampler.constraint = constraint
    with pytest.raises(EngineError, match="the constraint allows no token"):
        sampler.sample(logits_of("peaked", 100, 1))


def test_unlikely_tokens_count_once_the_likely_ones_are_not_allowed() -> None:
    """One token is all of the mass and not allowed; of the rest, the first is 2.7 times as likely
    as each of 19,998 others.
    """
    logits = np.full(20_000, -22, np.float32)
    logits[0], logits[1] = 0, -21
    constraint = OnlyAsked(range(1, 20_000))
    sampler = Sampler(1, 0.95, 1)
    sampler.constraint = constraint
    drawn = draw(sampler, logits, 30)
    assert len(set(drawn)) > 25
    assert constraint.masks == 30


def draw(sampler: Sampler, logits: Floats, n: int) -> list[int]:
    return [sampler.sample(logits) for _ in range(n)]
