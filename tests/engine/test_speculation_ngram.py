"""Proves that prompt-lookup drafting proposes what followed the last words before, that answers
which quote gain by it, and that no text changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.speculation import generate, prompt_ids

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.ngram_draft import NgramDrafter
from dslocal.engine.speculation.speculation import Speculation, enable_speculation
from dslocal.plan.load_config import LoadConfig

LOADING = LoadConfig(1024, n_outputs=8)
TEXT = [1, 2, 3, 4, 5, 6, 7, 8, 9]

# what the context holds, the next token, how many at the most, and what is drafted
CASES = {
    "what followed three": ([*TEXT, 20, 2, 3], 4, 3, [5, 6, 7]),
    "what followed two": ([*TEXT, 20, 3], 4, 3, [5, 6, 7]),
    "one is not enough": ([*TEXT, 20, 30], 4, 3, []),
    "never seen": (TEXT, 50, 3, []),
    "the latest": ([1, 2, 3, 40, 1, 2, 3, 41, 7, 1, 2], 3, 1, [41]),
    "three before two": ([9, 2, 3, 40, 8, 2, 3, 41, 7, 9, 2], 3, 1, [40]),
    "as far as there is text": ([1, 2, 3, 4, 1, 2], 3, 7, [4, 1, 2]),
    "a repetition": ([5, 6, 5, 6, 5], 6, 2, [5]),
    "at the very start": ([], 1, 3, []),
    "after one token": ([1], 2, 3, []),
    "what only now ends does not count": ([1, 2, 3], 4, 3, []),
}


@pytest.fixture(scope="module")
def model(nano: Path) -> Iterator[LlamaModel]:
    """nano without its MTP layer."""
    with LlamaModel(nano, LOADING) as loaded:
        yield loaded


@pytest.mark.parametrize(("ids", "token", "most", "expected"), CASES.values(), ids=CASES)
def test_it_drafts_what_followed_last(
    context: LlamaContext, ids: list[int], token: int, most: int, expected: list[int]
) -> None:
    assert NgramDrafter(context).propose(ids, token, most) == expected


def test_what_was_removed_is_not_remembered(context: LlamaContext) -> None:
    """Proves it where other tokens came in its place, and that what stayed is still found."""
    drafter = NgramDrafter(context)
    assert drafter.propose([*TEXT, 3], 4, 2) == [5, 6]
    drafter.trimmed(4)
    assert drafter.propose([1, 2, 3, 4, 30, 31, 3], 4, 2) == [30, 31]
    drafter.trimmed(0)
    assert drafter.propose([40, 41, 42, 7, 8], 9, 2) == []
    assert drafter.propose([40, 41, 42, 7, 8, 9, 41], 42, 2) == [7, 8]


def test_it_is_what_a_search_from_the_start_finds(context: LlamaContext) -> None:
    """Proves the growing index equal to a fresh one, through growth and cuts."""
    ids, drafter = [n * n % 11 for n in range(150)], NgramDrafter(context)
    for length in (10, 11, 40, 150, 70, 149, 20, 21, 100):
        drafter.trimmed(length)
        for token in range(11):
            assert drafter.propose(ids[:length], token, 5) == NgramDrafter(context).propose(
                ids[:length], token, 5
            )


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.2])
def test_the_text_is_the_same(model: LlamaModel, temperature: float) -> None:
    with LlamaContext(model, LOADING) as plain, LlamaContext(model, LOADING) as drafting:
        speculation = Speculation(
            drafting, NgramDrafter(drafting), DraftLength([2, 4, 7], optional=False)
        )
        for question in ("What is 47 × 86?", "What is 12 * (3 + 4)?"):
            prompt = prompt_ids(model, question)
            one, other = (
                generate(context, prompt, temperature=temperature, max_tokens=200)
                for context in (plain, drafting)
            )
            assert other.ids == one.ids
            assert other.drafted > other.accepted > 0
            assert drafting.ids == [*prompt, *other.ids][: len(drafting.ids)]
        assert speculation.error is None


def test_saying_the_same_again_is_nearly_free(model: LlamaModel) -> None:
    """Proves that what was said word by word in the prompt is drafted, seven tokens at a time."""
    with LlamaContext(model, LOADING) as plain, LlamaContext(model, LOADING) as drafting:
        prompt = prompt_ids(model)
        said = generate(plain, prompt, max_tokens=200).ids
        Speculation(drafting, NgramDrafter(drafting), DraftLength([7], optional=False))
        again = generate(drafting, [*prompt, *said, *prompt], max_tokens=200)
        known = generate(plain, [*prompt, *said, *prompt], max_tokens=200)
        assert again.ids == known.ids
        assert again.accepted > 0.75 * len(again.ids)


def test_without_an_mtp_layer_auto_drafts_by_ngrams(model: LlamaModel) -> None:
    with LlamaContext(model, LOADING) as context:
        speculation = enable_speculation(context, "auto")
        assert speculation is not None
        assert isinstance(speculation.drafter, NgramDrafter)
