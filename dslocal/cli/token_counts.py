"""Parse numbers of tokens in options and settings: ``8192``, or ``8k``, as model cards write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

MAX_COUNT = 1 << 50
_COUNT = re.compile(r"(?P<number>[-+]?\d{1,12})(?P<unit>[kKmM]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def token_count(text: str | int) -> int:
    """Return the number of tokens that ``text`` says; 8k is 8,192, and 1m is 1,048,576.

    Raises:
        typer.BadParameter: It is not a whole number.
    """
    if isinstance(text, int):  # the option's default
        return text
    found = _COUNT.fullmatch(text.strip().replace("_", ""))
    if found is None:
        raise typer.BadParameter(f"{text!r:.40} is not a number of tokens, such as 8192 or 8k")
    return int(found["number"]) * _UNITS[found["unit"].lower()]


def configured_tokens(value: Any) -> Any:
    """Return a configured number of tokens: ``"8k"`` as 8,192, and anything else as it is."""
    if isinstance(value, str):
        with suppress(typer.BadParameter):
            return token_count(value)
    return value


def token_count_between(least: int, most: int) -> Callable[[str | int], int]:
    """Return :func:`token_count` for numbers in a range."""

    def count(text: str | int) -> int:
        number = token_count(text)
        if not least <= number <= most:
            raise typer.BadParameter(f"{number:,} is not from {least:,} to {most:,}")
        return number

    return count
