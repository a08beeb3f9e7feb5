"""Durations as Ollama reads them: numbers of seconds, or texts such as ``5m`` and ``1h30m``."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
AMOUNT = r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})"
PART = re.compile(f"{AMOUNT}({'|'.join(sorted(UNITS_S, key=len, reverse=True))})")
DURATION = re.compile(f"[+-]?(?:{PART.pattern}){{1,8}}|[+-]?{AMOUNT}")
MAX_S = 10 * 366 * 86_400.0  # what is longer is for ever


def seconds_of(value: Any) -> Any:
    """Return a duration in seconds, infinite for a negative one; anything else as it is."""
    if isinstance(value, str) and DURATION.fullmatch(value):
        parts = PART.findall(value)
        number = sum(float(amount) * UNITS_S[unit] for amount, unit in parts)
        if not parts:  # a number without a unit
            number = abs(float(value))
        value = -number if value.startswith("-") else number
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return math.inf if value < 0 or value > MAX_S else float(value)


KeepAlive = Annotated[float, Field(ge=0), BeforeValidator(seconds_of)]
