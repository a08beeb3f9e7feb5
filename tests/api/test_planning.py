"""Prove that a plan from Python is the plan of ``dslocal fit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

import dslocal
from dslocal import catalog
from dslocal.api.planning.machines import MachineOptions, machine_and_rates
from dslocal.catalog.downloads import offers
from dslocal.catalog.downloads.download_choice import choose_download
from dslocal.catalog.locations import published_location
from dslocal.plan.assessment import assess
from dslocal.plan.choice import choose_quant

MACHINE: dict[str, Any] = {"ram": "64GiB", "vram": "24GiB", "os": "linux"}
FLAGS = ("--ram", "64GiB", "--vram", "24GiB", "--os", "linux")


@pytest.mark.parametrize(
    ("model", "options", "flags"),
    [
        ("deepseek-v2-lite-chat", {}, ()),
        ("deepseek-r1", {"quant": "Q2_K"}, ("--quant", "Q2_K")),
        ("deepseek-r1-distill-qwen-7b", {"n_ctx": 8192}, ("--ctx", "8192")),
        ("deepseek-llm-67b-chat", {"kv_type": "q8_0"}, ("--kv", "q8_0")),
        ("deepseek-moe-16b-chat", {"cpu_moe": "all"}, ("--cpu-moe", "all")),
    ],
)
def test_the_plan_of_the_command(
    run: Run, model: str, options: dict[str, Any], flags: tuple[str, ...]
) -> None:
    plan = dslocal.plan(model, **options, **MACHINE)
    shown = json.loads(run("fit", model, *flags, *FLAGS, "--json").stdout)
    assert (plan.model, plan.quant) == (shown["model"], shown["quant"])
    assert plan.verdict == shown["verdict"]
    assert plan.memory.all.total == shown["memory"]["total"]
    assert plan.settings.n_ctx == shown["plan"]["n_ctx"]
    assert [round(rate, 2) for rate in plan.tokens_per_second] == [
        shown["tokens_per_s"]["low"],
        shown["tokens_per_s"]["high"],
    ]
    assert plan.download == shown["download"]
    assert plan.fits is (plan.verdict != "no")


@pytest.mark.parametrize(
    ("model", "machine", "quant", "size"),
    [
        ("deepseek-v4-flash-0731", {"chip": "M4 Max", "ram": "128GiB"}, "UD-IQ3_XXS", 104.2),
        ("deepseek-v4-flash-0731", {"chip": "M5 Max", "ram": "128GiB"}, "UD-IQ3_XXS", 104.2),
        ("deepseek-v4-flash-0731", {"os": "macos", "ram": "96GiB"}, "UD-IQ2_XXS", 90.9),
        ("deepseek-v4-flash-0731", {"chip": "M3 Ultra", "ram": "256GiB"}, "MXFP4", 156.4),
        ("deepseek-v4-pro-0813", {"chip": "M3 Ultra", "ram": "512GiB"}, "V4-IQ2", 464.3),
    ],
)
def test_of_v4_a_file_is_taken_that_is_made_and_fits(
    model: str, machine: dict[str, Any], quant: str, size: float
) -> None:
    """Proves that the choice of ``dslocal pull`` is that of ``dslocal fit``, and that neither would
    convert to so few bits without an importance matrix.
    """
    plan = dslocal.plan(model, **machine)
    assert (plan.quant, plan.verdict) in ((quant, "gpu"), (quant, "offload"))
    assert plan.tokens_per_second[1] > 8
    here, rates = machine_and_rates(MachineOptions(**machine))
    choice = choose_download(
        published_location(catalog.load_registry()[model]),
        None,
        None,
        lambda found: assess(found, here, rates),
        choose_quant,
        here.cores,
        1 << 42,
        check=False,
    )
    assert (choice.offer.method, choice.offer.model.quant) == ("ready-made", quant)
    assert choice.offer.model.download == pytest.approx(size * 1e9, rel=0.003)


def test_what_needs_an_importance_matrix_is_not_converted() -> None:
    entry = catalog.load_registry()["deepseek-v4-flash-0731"]
    assert {quant: offer_method(entry, quant) for quant in entry.quants} == {
        "MXFP4": "ready-made",
        "UD-IQ3_XXS": "ready-made",
        "UD-IQ2_XXS": "ready-made",
        "V4-IQ2": "ready-made",
    }
    base = catalog.load_registry()["deepseek-v4-flash-base"]
    assert offer_method(base, "V4-Q2") == "converted"
    assert offer_method(base, "V4-IQ2") is None


@pytest.mark.parametrize(
    ("name", "written", "listed"),
    [
        ("deepseek-v4-flash-0731", "ud-iq2_xxs", "UD-IQ2_XXS"),
        ("deepseek-v4-flash-0731", "v4-iq2", "V4-IQ2"),
        ("deepseek-r1-distill-qwen-7b", "q4_k", "Q4_K_M"),
        ("deepseek-r1", "q3_k_s", "Q3_K_S"),
    ],
)
def test_quantizations_are_found_however_they_are_written(
    name: str, written: str, listed: str
) -> None:
    offer = offers.expected_offer(catalog.load_registry()[name], written, 8)
    assert offer is not None
    assert offer.model.quant == listed


def offer_method(entry: catalog.ModelEntry, quant: str) -> str | None:
    offer = offers.expected_offer(entry, quant, 8)
    return offer.method if offer else None


def test_a_file_that_is_here(nano: Path) -> None:
    plan = dslocal.plan(nano)
    assert (plan.model, plan.quant, plan.download) == ("nano", "Q8_0", 0)
    assert plan.fits


def test_what_does_not_fit_is_an_answer() -> None:
    plan = dslocal.plan("deepseek-r1", ram="1GiB", vram="0", os="linux")
    assert not plan.fits
    assert plan.lacking > 0


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "no-such-model"}, dslocal.NotFoundError, "no-such-model"),
        ({"model": "deepseek-r1", "ram": "much"}, dslocal.UsageError, "'much'"),
        ({"model": "deepseek-r1", "os": "beos"}, dslocal.UsageError, "'beos'"),
        ({"model": "deepseek-r1", "quant": "Q9"}, dslocal.UsageError, "Q9"),
    ],
)
def test_wrong_arguments_are_named(
    home: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        dslocal.plan(**options)
