"""Proves that a converted tokenizer makes the ids that its tokenizer.json makes, on random text of
every script.

Reference: the tokenizers library. Two differences are llama.cpp's and known. In the two oldest
families, whose regexes spell out ranges of characters, it does not see spaces from U+1680 on inside
those ranges (src/unicode.cpp puts U+000B in their place). In deepseek-llm it keeps numbers together
that the Digits step takes apart, which only shows where a token holds two of them, and none does.
tests/benchmarks/tokenizers_10k.py does the same with real vocabularies.
"""

from __future__ import annotations

import itertools
import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.prompts.random_texts import KINDS, random_texts
from support.prompts.vocabularies import DIGITS_ALONE, of_pairs, ours, reference
from tokenizers import Tokenizer

from dslocal.engine import LlamaModel

COUNT = 400
FAMILIES = {
    "deepseek-v3": "deepseek-v3",
    "deepseek-llm": "deepseek-llm",
    "deepseek-coder": "deepseek-coder",
}
FAMILIES |= {"qwen2": "deepseek-r1-qwen", "llama-bpe": "llama-bpe"}  # the name in llama.cpp
BY_RANGES = ("deepseek-llm", "deepseek-coder")
LATE_SPACES = (
    "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True)
class Pair:
    """The same tokenizer twice."""

    family: str
    model: LlamaModel
    reference: Tokenizer

    def excused(self, text: str) -> bool:
        """Whether ``text`` holds what this family is known to differ in."""
        late = self.family in BY_RANGES and not set(LATE_SPACES).isdisjoint(text)
        numbers = [unicodedata.category(c)[0] == "N" for c in text]
        return late or (
            self.family in DIGITS_ALONE and any(a and b for a, b in itertools.pairwise(numbers))
        )

    def differs(self, text: str) -> bool:
        return self.model.encode(text) != self.reference.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module", params=FAMILIES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    content = of_pairs(request.param)
    with ours(content, tmp_path_factory.mktemp(request.param)) as model:
        yield Pair(request.param, model, reference(content))


def test_the_pre_tokenizer_is_recognised(pair: Pair) -> None:
    assert pair.model.header.text("tokenizer.ggml.pre") == FAMILIES[pair.family]


def test_random_texts(pair: Pair) -> None:
    texts = [
        *itertools.islice(
            (text for text in random_texts(4 * COUNT, seed=1) if not pair.excused(text)), COUNT
        )
    ]
    assert len(texts) == COUNT
    assert [text for text in texts if pair.differs(text)] == []


def test_each_kind_of_character(pair: Pair) -> None:
    dice = random.Random(2)
    for pieces in KINDS.values():
        for piece in dice.sample(pieces, min(len(pieces), 12)):
            texts = (
                piece * 2,
                f" {piece} ",
                f"a{piece}b",
                f"1{piece}\n",
                f".{piece}好",
                f"e{piece}\u0301",
            )
            assert [text for text in texts if not pair.excused(text) and pair.differs(text)] == []


NORMALISED = (
    "e\u0301",
    "A\u030a",
    "\u1100\u1161\u11a8",
    "か\u3099",
    "\u212b",
    "\uf900",
    "\u0958",
    "q\u0307\u0323",
    "x<\u0338think>",
)


@pytest.mark.parametrize("text", NORMALISED)
def test_only_qwens_tokenizer_composes(text: str, pair: Pair) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert composed != text
    assert (pair.model.encode(text) == pair.model.encode(composed)) == (pair.family == "qwen2")
    assert not pair.differs(text)


@pytest.mark.parametrize("space", LATE_SPACES)
def test_spaces_that_llama_cpp_overlooks(space: str, pair: Pair) -> None:
    """Should this fail, llama.cpp has changed for the better, and the exceptions above can go."""
    texts = [
        f"{before}{space}{after}"
        for before in (" ", "\t", "\u00a0", "好", "。")
        for after in ("", " ", "\t", "a", "好", "。")
    ]
    assert any(map(pair.differs, texts)) == (pair.family in BY_RANGES)


def test_numbers_that_llama_cpp_keeps_together(pair: Pair) -> None:
    assert any(map(pair.differs, ("³³", "ⅧⅨ", "１２", "٣٤", "½¼¾"))) == (
        pair.family in DIGITS_ALONE
    )
