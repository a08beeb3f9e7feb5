"""The first lines of a chat with nano: what nano is, and which real model suits this machine."""

from __future__ import annotations

from dslocal.api.planning.recommendation import best_model_here, unused_gpu_here
from dslocal.cli import user_settings
from dslocal.cli.session_setup import ModelFile
from dslocal.errors import DslocalError
from dslocal.terminal.reports.speed_text import recommendation_text

NANO = "nano"  # the name in its header


def introduction(file: ModelFile) -> list[str]:
    """Return what a newcomer should know of nano, and the command that gets a real model.

    Nothing for other models.
    """
    if file.engine is not None or file.header.text("general.name") != NANO:
        return []
    lines = [
        "nano is a toy of 27 MB that shows dslocal without a download: sums, capitals, small files."
    ]
    if unused := unused_gpu_here():
        lines.append(unused)
    try:
        best = best_model_here(user_settings.fast_enough(), user_settings.plan_overrides())
    except DslocalError:  # a models.yaml of the user's that cannot be read
        best = None
    if best is None:
        return [*lines, "dslocal fit, in the shell, says which real models run here."]
    return [
        *lines,
        f"A real model: {best.command}, in the shell ({recommendation_text(best)})."
        " dslocal fit lists others.",
    ]
