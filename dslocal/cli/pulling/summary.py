"""Describe in words how a model would run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal.plan.placement_words import placement_words
from dslocal.terminal.reports.speed_text import speed_text

if TYPE_CHECKING:
    from dslocal.plan.assessment import Assessment


def how_it_runs(found: Assessment) -> str:
    """Return where a model runs, with how much context, and how fast."""
    plan = found.plan
    if plan.verdict == "no":
        return "does not run here"
    context = f"{plan.load_config.n_ctx:,} tokens of context"
    where = placement_words(plan.verdict)
    return f"runs {where} with {context}, about {speed_text(found.speed.middle)}"
