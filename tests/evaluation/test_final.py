"""Proves that the final answer is found as a reader would, boxed or only said, and in time that
grows with the text alone.
"""

from __future__ import annotations

import pytest
from support.timing import at_most

from dslocal.evaluation.extraction import boxed_content, final_answer

CASES = [
    ("The answer is \\boxed{4042}.", "4042"),
    ("\\boxed{ 4042\n}", "4042"),
    ("\\boxed{}", ""),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\boxed{\\text{a {b {c}}} d}", "\\text{a {b {c}}} d"),
    ("first \\boxed{1}, then \\boxed{2}", "2"),
    ("\\boxed{\\boxed{3}}", "3"),
    ("$\\boxed{x}$ and {y}", "x"),
    ("\\boxed{1} but \\boxed{2", "1"),
    ("\\boxed{1 \\boxed{2}", "2"),
    ("} \\boxed{1}", "1"),
    ("{ \\boxed{1}", "1"),
    ("\\boxed{你好}", "你好"),
    ("\\boxed{1", None),
    ("\\boxed", None),
    ("\\boxed 4042", None),
    ("boxed{1}", None),
    ("4042", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_boxed(text: str, expected: str | None) -> None:
    assert boxed_content(text) == expected


ENDLESS_BOXES = [  # minutes, if every opening were followed to the end
    "\\boxed{" * 50_000,
    "\\boxed{" * 50_000 + "1" + "}" * 50_000,
    "\\boxed{1}" * 50_000,
    "{" * 300_000,
]


@pytest.mark.parametrize("text", ENDLESS_BOXES)
def test_an_endless_repetition(text: str) -> None:
    assert boxed_content(text) == ("1" if "1" in text else None)


@pytest.mark.timed
@pytest.mark.parametrize("text", ENDLESS_BOXES)
def test_an_endless_repetition_takes_no_time(text: str) -> None:
    with at_most(5):
        boxed_content(text)


SAID = [
    ("The answer is 1, no: \\boxed{2}. So the answer is 3.", "2"),
    ("The answer is 4042.", "4042"),
    ("The answer is 57 remainder 3.", "57 remainder 3"),
    ("The final answer is: **3.5**.", "3.5"),
    ("the answer is $\\frac{1}{2}$. It was easy.", "$\\frac{1}{2}$"),
    ("First the answer is 1. Then the answer is 2.", "2"),
    ("**Answer:** 5", "5"),
    ("**Answer**: 5 cm\n\nThank you!", "5 cm"),
    ("Answer: Yes!", "Yes"),
    ("**Final Answer**\n\n42", "42"),
    ("### Answer\n42\nmore", "42"),
    ("The result is 12", "12"),
    ("答案是4042。", "4042"),
    ("所以，最终答案是 **42**。谢谢！", "42"),
    ("答案：A", "A"),
    ("最终答案为：3.5", "3.5"),
    ("### 答案\n\n42", "42"),
    ("Reasoning 1 + 1\n#### 1,200", "1,200"),
    ("The capital of Peru is Lima.", None),
    ("It is 42", None),
    ("I answered him.", None),
    ("The answer is", None),
    ("Answer: " + "very long " * 100, None),
    ("\\boxed{}", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), SAID)
def test_final_answer(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


ENDLESS_SEARCHES = [
    "answer" * 50_000,
    "answer is " * 50_000,
    "#" * 300_000,
    "答案" * 100_000,
    "\n" * 300_000,
    "answer " + "*" * 300_000,
]


@pytest.mark.parametrize("text", ENDLESS_SEARCHES)
def test_a_search_for_the_final_answer_in_vain(text: str) -> None:
    assert final_answer(text) is None


@pytest.mark.timed
@pytest.mark.parametrize("text", ENDLESS_SEARCHES)
def test_a_search_for_the_final_answer_takes_no_time(text: str) -> None:
    with at_most(5):
        final_answer(text)
