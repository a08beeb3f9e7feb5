"""The levels of reasoning that clients name, in whatever field."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal.prompts.families.base import EFFORT_NAMES
from dslocal.server.exchange.tasks import ReasoningSwitch

from .errors import ApiError

WITHOUT = ("none", "off", "disabled")  # levels that mean no reasoning
LEVELS = tuple(EFFORT_NAMES)


def reasoning_level(field: str, level: str | None) -> Iterator[ReasoningSwitch]:
    """Yield what a field says that names a level; nothing where it is absent.

    Raises:
        ApiError: 422 for a level that is not known.
    """
    if level is None:
        return
    if level in WITHOUT:
        yield ReasoningSwitch(field, is_on=False)
    elif level in LEVELS:
        yield ReasoningSwitch(field, is_on=True, level=level, is_hint=True)
    else:
        known = ", ".join((WITHOUT[0], *LEVELS))
        raise ApiError(422, f"{field}: {level[:40]!r} is not one of {known}", param=field)
