"""Describe in words how a model would run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal.plan.assessment import VERDICT_LABELS
from dslocal.terminal.reports.speed_text import speed_text

if TYPE_CHECKING:
    from dslocal.plan.assessment import Assessment


def how_it_runs(found: Assessment) -> str:
    """Return where a model runs, with how much context, and how fast."""
    plan = found.plan
    if plan.verdict == "no":
        return "does not run here"
    where = "from the SSD" if plan.verdict == "ssd" else f"on the {VERDICT_LABELS[plan.verdict]}"
    context = f"{plan.load_config.n_ctx:,} tokens of context"
    return f"runs {where} with {context}, about {speed_text(found.speed.middle)}"
