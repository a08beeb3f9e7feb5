"""Names near one that is not known, for messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

PREFIX = "deepseek-"
MAX_SUGGESTED = 3
MIN_LIKENESS = 0.6
WORD_BONUS = 0.1  # for each word of the text that a name has as well


def nearest_names(text: str, known: Mapping[str, str]) -> list[str]:
    """Return up to three models that ``text`` may be meant as, the nearest first.

    Args:
        text: What was written.
        known: For each name that a model has, the one to suggest.
    """
    wanted = _plain(text)
    words = set(wanted.split("-"))
    scores: dict[str, float] = {}
    for name, suggested in known.items():
        plain = _plain(name)
        likeness = max(
            SequenceMatcher(None, wanted, plain).ratio(),
            SequenceMatcher(None, wanted, PREFIX + plain).ratio(),
        )
        if likeness >= MIN_LIKENESS:
            score = likeness + WORD_BONUS * len(words & set(plain.split("-")))
            scores[suggested] = max(score, scores.get(suggested, 0.0))
    return sorted(scores, key=lambda name: (-scores[name], len(name)))[:MAX_SUGGESTED]


def _plain(text: str) -> str:
    """Return a text without owner and case, its words separated by '-'."""
    last = text.rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[\s_:@-]+", "-", last.lower()).strip("-")
    return plain.removesuffix(".gguf").removesuffix("-gguf").removeprefix(PREFIX)
