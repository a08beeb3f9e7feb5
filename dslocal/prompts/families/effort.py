"""How thoroughly a model reasons, and whether it does, as one choice."""

from __future__ import annotations

from typing import NamedTuple

from dslocal.errors import UsageError

from .base import Family

NO_EFFORT = "none"  # what clients call an answer without reasoning


class EffortChoice(NamedTuple):
    """A family with the effort that was chosen, and whether it reasons: None for its default."""

    family: Family
    think: bool | None


def choose_effort(family: Family, effort: str | None, think: bool | None) -> EffortChoice:
    """Return what an effort means beside a choice to reason or not.

    Args:
        family: The model's family.
        effort: "none", or an effort that the family knows; None for its default.
        think: Whether it reasons; None for the family's default.

    Raises:
        UsageError: The two contradict each other, or the family does not know the effort.
    """
    if effort is None:
        return EffortChoice(family, think)
    if effort == NO_EFFORT:
        if think:
            raise UsageError(
                "--think and an effort of none cannot be combined", hint="use one of them"
            )
        return EffortChoice(family, False)
    if think is False:
        raise UsageError(
            f"--no-think and an effort of {effort:.40} cannot be combined", hint="use one of them"
        )
    return EffortChoice(family.with_effort(effort), True)
