"""Proves that each place where a model may run has words that fit."""

from __future__ import annotations

from typing import get_args

import pytest

from dslocal.plan.placement_words import placement_words
from dslocal.plan.search import Verdict


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_every_verdict_has_words(verdict: Verdict) -> None:
    phrase, word = placement_words(verdict), placement_words(verdict, short=True)
    assert phrase.split()[0] in ("on", "from", "not")
    assert 0 < len(word) <= 4
