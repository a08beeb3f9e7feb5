"""Proves which quantization is chosen on a machine, and which ones count as Q4_K_M or better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.machines.planning import GIB, header

from dslocal.plan.assessment import Assessment, PlannedModel, assess
from dslocal.plan.choice import choose_quant, is_q4_k_m_or_better
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.search import Verdict
from dslocal.plan.speed import Speed, rates_for

MACHINE = describe_machine(1024 * GIB)
SMALL, LARGE = "deepseek-r1-distill-qwen-7b", "deepseek-v3"


def assessed(model: str, quant: str, verdict: Verdict, tokens_per_s: float) -> Assessment:
    """What is found of a model, with another verdict and another speed."""
    found = assess(PlannedModel(model, quant, header(model)), MACHINE, rates_for(MACHINE))
    plan = replace(found.plan, verdict=verdict, lacking=round(1e9 / tokens_per_s))
    return replace(found, plan=plan, speed=Speed(tokens_per_s, tokens_per_s))


Case = tuple[str, list[tuple[str, Verdict, float]], str]
CASES: dict[str, Case] = {
    "the best that is fast enough": (
        SMALL,
        [("Q8_0", "cpu", 5), ("Q6_K", "cpu", 9), ("Q4_K_M", "cpu", 12)],
        "Q6_K",
    ),
    "the very best when all are": (SMALL, [("Q8_0", "gpu", 50), ("Q4_K_M", "gpu", 90)], "Q8_0"),
    "just fast enough": (SMALL, [("Q8_0", "cpu", 8.0), ("Q4_K_M", "cpu", 12)], "Q8_0"),
    "the fastest good one when none is": (
        SMALL,
        [("Q8_0", "cpu", 1), ("Q4_K_M", "cpu", 2), ("Q2_K", "cpu", 3)],
        "Q4_K_M",
    ),
    "partly on a GPU can be slower than wholly": (
        SMALL,
        [("Q8_0", "offload", 3), ("Q4_K_M", "gpu", 40)],
        "Q4_K_M",
    ),
    "a small model in two bits is not taken for speed": (
        SMALL,
        [("Q8_0", "cpu", 3), ("Q4_K_M", "cpu", 5), ("Q2_K", "cpu", 9)],
        "Q4_K_M",
    ),
    "a very large one is": (
        LARGE,
        [("Q8_0", "ssd", 0.1), ("Q4_K_M", "offload", 6), ("Q2_K", "offload", 9)],
        "Q2_K",
    ),
    "what fits, where only that does": (
        SMALL,
        [("Q8_0", "ssd", 0.3), ("Q4_K_M", "ssd", 0.5), ("Q3_K_M", "cpu", 4), ("Q2_K", "cpu", 6)],
        "Q3_K_M",
    ),
    "memory before the SSD": (SMALL, [("Q4_K_M", "ssd", 9), ("Q2_K", "cpu", 1)], "Q2_K"),
    "the fastest from the SSD": (LARGE, [("Q8_0", "ssd", 0.1), ("Q2_K", "ssd", 0.3)], "Q2_K"),
    "what lacks least where nothing runs": (LARGE, [("Q8_0", "no", 1), ("Q2_K", "no", 2)], "Q2_K"),
    "the only one": (SMALL, [("Q2_K", "no", 1)], "Q2_K"),
}


@pytest.mark.parametrize("name", CASES)
def test_choice(name: str) -> None:
    model, quants, expected = CASES[name]
    found = [assessed(model, *quant) for quant in quants]
    assert choose_quant(found).model.quant == expected


def test_what_is_fast_enough_is_a_setting() -> None:
    found = [assessed(SMALL, "Q8_0", "cpu", 5), assessed(SMALL, "Q4_K_M", "cpu", 9)]
    chosen = {enough: choose_quant(found, enough).model.quant for enough in (0, 5, 5.1, 9, 10)}
    assert chosen == {0: "Q8_0", 5: "Q8_0", 5.1: "Q4_K_M", 9: "Q4_K_M", 10: "Q4_K_M"}


def test_nothing_is_planned_after_the_first_that_will_do() -> None:
    def quants() -> Iterator[Assessment]:
        yield assessed(SMALL, "Q8_0", "gpu", 50)
        raise AssertionError("looked further")

    assert choose_quant(quants()).model.quant == "Q8_0"


@pytest.mark.parametrize(
    ("quants", "good"),
    [
        ("Q4_K_M Q4_K_S Q4_K UD-Q4_K_XL Q5_0 Q5_K_M Q6_K Q8_0 ud-q8_k_xl F16 BF16 F32 FP8", True),
        ("Q4_0 Q4_1 IQ4_XS IQ4_NL MXFP4 Q3_K_M IQ3_M Q2_K UD-IQ1_S TQ1_0 IQ2_XXS", False),
    ],
)
def test_names_that_keep_as_much_as_q4_k_m(quants: str, good: bool) -> None:
    assert {name: is_q4_k_m_or_better(name) for name in quants.split()} == dict.fromkeys(
        quants.split(), good
    )
