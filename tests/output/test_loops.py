"""Proves that an endless repetition is named soon, and that what texts repeat on purpose is not
one.
"""

from __future__ import annotations

import re
import time

import pytest

from dslocal.output.loops import SIGN_TOKENS, WORD_TOKENS, LoopDetector

PROSE = (
    "Wait, let me check that again. If the sum is 12, then the first number must be 5, and so on. "
)
PARAGRAPH = " ".join(
    f"Sentence {n} of a long paragraph says something of its own." for n in range(30)
)


def tokens(text: str) -> list[str]:
    return re.findall(r"\s?\w{1,5}|\s|[^\w\s]", text)


def fed(text: str) -> tuple[LoopDetector, int]:
    """The detector after ``text``, and how many tokens it took to name a loop, or all."""
    detector, ids = LoopDetector(), dict[str, int]()
    pieces = tokens(text)
    for place, piece in enumerate(pieces):
        detector.feed(ids.setdefault(piece, len(ids)), piece)
        if detector.found:
            return detector, place + 1
    return detector, len(pieces)


LOOPS = {
    "one word": ("the ", WORD_TOKENS),
    "a sentence": (PROSE, WORD_TOKENS),
    "a paragraph": (PARAGRAPH, 5 * len(tokens(PARAGRAPH))),
    "Chinese": ("让我再检查一遍。", WORD_TOKENS),
    "signs": ("-", SIGN_TOKENS),
    "zeros": ("0, ", SIGN_TOKENS),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize(
    "before", ["", PARAGRAPH + " And so: "], ids=["at once", "after a beginning"]
)
def test_a_loop_is_named(name: str, before: str) -> None:
    text, needed = LOOPS[name]
    detector, taken = fed(before + text * 6000)
    assert detector.found
    assert detector.found.times >= 6
    assert sorted(detector.found.text) == sorted(text)  # it may be cut anywhere in the cycle
    assert taken - len(tokens(before)) <= needed + 2 * len(tokens(text)) + 10
    assert str(detector.found).count("\n") == 0


LEGITIMATE = {
    "a table of numbers": "".join(f"| {n} | {n * n} | yes | no |\n" for n in range(400)),
    "a table's rules": "".join("+" + "-" * 200 + f"+\n| {n} | b |\n" for n in range(12)),
    "a matrix of zeros": ("[" + "0, " * 31 + "0],\n") * 32,
    "counting": " ".join(map(str, range(3000))),
    "a list that was asked for": "hello\n" * 100,
    "code": "".join(f"    if (x == {n}) {{\n        return {n + 1};\n    }}\n" for n in range(150)),
    "getters": "".join(
        f"    def get_{w}(self):\n        return self._{w}\n\n"
        for w in "abcdefghijklmnopqrstuvwxyz" * 2
    ),
    "data of letters": "ATGC" * 40 + "".join("ACGT"[n * n * 7 % 4] for n in range(2000)),
    "a refrain": (PROSE * 3 + PARAGRAPH) * 3,
    "prose": PARAGRAPH,
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_repeats_on_purpose_is_not_a_loop(name: str) -> None:
    detector, _ = fed(LEGITIMATE[name])
    assert detector.found is None


def test_less_is_enough_once_an_answer_was_cut() -> None:
    assert fed((PROSE * 8).strip())[0].suspected
    assert fed(PROSE * 3)[0].suspected is None
    assert fed("0, " * 300)[0].suspected is None
    assert fed(PARAGRAPH)[0].suspected is None


def test_after_a_reset_it_starts_again() -> None:
    detector, _ = fed(PROSE * 200)
    detector.reset()
    assert detector.found is None
    for place in range(WORD_TOKENS - 10):
        detector.feed(place % 7, "word ")
    assert detector.found is None


@pytest.mark.timed
def test_time_is_linear() -> None:
    """Ten times the tokens take about ten times the time, whatever the text: here with a cycle as
    long as the text allows.
    """

    def seconds(n: int) -> float:
        detector, began = LoopDetector(), time.perf_counter()
        for place in range(n):
            detector.feed(place * place % (n // 3), "1")
        return time.perf_counter() - began

    seconds(1000)
    assert min(seconds(40_000) for _ in range(2)) < 40 * max(
        min(seconds(4_000) for _ in range(3)), 0.001
    )
