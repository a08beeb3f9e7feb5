"""Proves that an effort of reasoning is obeyed or refused wherever one can be chosen."""

from __future__ import annotations

import pytest

from dslocal.errors import UsageError
from dslocal.prompts import FAMILIES, Message, Thinking, choose_effort, render

V4_0731 = FAMILIES["v4-0731"]


@pytest.mark.parametrize(
    ("effort", "think", "expected"),
    [
        (None, None, ("low", None)),
        (None, False, ("low", False)),
        ("none", None, ("low", False)),
        ("none", False, ("low", False)),
        ("low", None, ("low", True)),
        ("medium", True, ("high", True)),
        ("ultra", None, ("max", True)),
    ],
)
def test_an_effort_beside_a_choice_to_reason(
    effort: str | None, think: bool | None, expected: tuple[str, bool | None]
) -> None:
    choice = choose_effort(V4_0731, effort, think)
    assert (choice.family.default_effort, choice.think) == expected


@pytest.mark.parametrize(
    ("family", "effort", "think", "message"),
    [
        ("v4", "none", True, "cannot be combined"),
        ("v4", "high", False, "cannot be combined"),
        ("v4", "thorough", None, "no effort is called 'thorough'"),
        ("nano", "high", None, "no levels of effort"),
        ("v3.2-speciale", "max", None, "no levels of effort"),
    ],
)
def test_what_means_nothing_is_refused(
    family: str, effort: str, think: bool | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        choose_effort(FAMILIES[family], effort, think)


def test_a_family_with_an_effort_says_it_in_every_prompt() -> None:
    family = V4_0731.with_effort("max")
    prompt = render(family.render([Message("user", "a")], Thinking.FORCED))
    assert "Beyond maximum" in prompt
    assert "Beyond maximum" not in render(V4_0731.render([Message("user", "a")], Thinking.FORCED))
