"""Prove that a plan from Python is the plan of ``dslocal fit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

import dslocal

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
