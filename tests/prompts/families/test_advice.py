"""Proves that defaults are the model card's own, that leaving them is named in one line each, and
that other ways to reason are refused.
"""

from __future__ import annotations

import pytest

from dslocal.errors import UsageError
from dslocal.prompts import FAMILIES, Family, Thinking

R1 = FAMILIES["r1"]
R1_0528 = FAMILIES["r1-0528"]
LLM = FAMILIES["llm"]
FREE = Thinking.FREE
FORCED = Thinking.FORCED
BYPASSED = Thinking.BYPASSED

# family, temperature, top-p, thinking, system prompt, how the lines begin
ADVICE: list[tuple[Family, float, float, Thinking | None, str, list[str]]] = [
    (R1, 0.6, 0.95, None, "", []),
    (R1, 0.5, 0.95, FORCED, "", []),
    (R1, 0.7, 0.95, FREE, "", []),
    (R1, 0.49, 0.95, None, "", ["temperature 0.49: R1's model card recommends 0.5 to 0.7"]),
    (R1, 0.71, 0.95, None, "", ["temperature 0.71: R1's model card recommends 0.5 to 0.7"]),
    (R1, 0, 0.95, None, "", ["temperature 0: R1's model card"]),
    (R1, 0.6, 0.9, None, "", ["top-p 0.9: R1's model card uses 0.95"]),
    (
        R1,
        1,
        1,
        BYPASSED,
        "",
        [
            "temperature 1:",
            "top-p 1:",
            "thinking bypassed: its model card recommends that every answer begins with <think>",
        ],
    ),
    (
        R1,
        0.6,
        0.95,
        None,
        "Be brief.",
        [],
    ),  # it goes in front of the question, as the model card asks
    (R1_0528, 0.6, 0.95, BYPASSED, "Be brief.", []),
    (R1_0528, 0.7, 0.95, None, "", ["temperature 0.7: R1-0528's model card uses 0.6"]),
    (
        FAMILIES["v3-0324"],
        1,
        0.95,
        None,
        "",
        ["temperature 1: V3-0324's model card uses 0.3 (which the API calls 1.0)"],
    ),
    (FAMILIES["v3"], 1, 1, None, "Be brief.", []),
    (FAMILIES["v3.2"], 1, 0.95, BYPASSED, "", []),  # its vendor offers both ways, as for V4
    (FAMILIES["v4"], 1, 1, BYPASSED, "", []),
    (FAMILIES["v4-0731"], 1, 1, BYPASSED, "", []),
    (FAMILIES["v4.1"], 1, 1, BYPASSED, "", []),
    (LLM, 0, 1, None, "Be brief.", ["system prompt: its model card does not recommend one"]),
    (LLM, 0, 1, None, "", []),
]


@pytest.mark.parametrize(("family", "temperature", "top_p", "thinking", "system", "lines"), ADVICE)
def test_advice(
    family: Family,
    temperature: float,
    top_p: float,
    thinking: Thinking | None,
    system: str,
    lines: list[str],
) -> None:
    settings = family.defaults.with_value("temperature", temperature, "test").with_value(
        "top_p", top_p, "test"
    )
    given = family.advice(settings, thinking, system)
    assert len(given) == len(lines)
    for line, begins in zip(given, lines, strict=True):
        assert line.startswith(begins)
        assert "\n" not in line


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_s_own_defaults_leave_nothing_to_advise(family: Family) -> None:
    assert family.advice(family.defaults, family.default_thinking) == []
    for setting in (family.defaults.temperature, family.defaults.top_p, family.defaults.max_tokens):
        assert setting.source


def test_defaults_of_r1_are_the_model_card_s() -> None:
    defaults = R1.defaults
    assert (defaults.temperature.value, defaults.top_p.value, defaults.max_tokens.value) == (
        0.6,
        0.95,
        32768,
    )
    assert {defaults.temperature.source, defaults.top_p.source, defaults.max_tokens.source} == {
        "R1 model card, Usage Recommendations"
    }
    assert R1.default_thinking is FORCED
    assert R1.directive is not None
    assert (
        R1.directive.english
        == "Please reason step by step, and put your final answer within \\boxed{}."
    )
    assert R1.directive.automatic


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_way_of_thinking_that_a_family_does_not_have_is_refused(family: Family) -> None:
    for way in set(Thinking) - set(family.thinking_modes):
        with pytest.raises(
            UsageError, match=f"family {family.name} does not support thinking={way.value}"
        ) as caught:
            family.render([], way)
        assert caught.value.hint == "it supports: " + ", ".join(
            way.value for way in family.thinking_modes
        )
