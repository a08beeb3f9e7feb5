"""Take a formula apart into tokens: numbers, commands, letters and signs.

Does not know what tokens mean together (:mod:`.formulas`).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from .exact_values import TooHard

MAX_DIGITS = 1000
_TOKEN = re.compile(
    r"""
    (?P<space>\s*)
    (?:
      (?P<number>
          \d+\.\d*[eE][+-]?\d{1,4}(?!\d)
        | \d+[eE]\d{1,4}(?!\d)
        | \d+[eE][+-]\d{2,4}(?!\d)      # 2e-3 with one digit is a sum
        | \d+\.?\d*
        | \.\d+
      )
    | (?P<command>\\[A-Za-z]+)
    | (?P<brace>\\[{}|])
    | (?P<letters>[A-Za-z]+)
    | (?P<greek>[α-ωΑ-Ω])
    | (?P<sign>[-+*/^_!%()\[\]{}|'∞])
    )
    """,
    re.VERBOSE,
)


class NotAFormula(Exception):
    """The text is not a formula, as far as this grammar knows."""


class Token(NamedTuple):
    """A piece of a formula, its kind, and whether there was space before it."""

    kind: str
    text: str
    spaced: bool


END = Token("end", "", False)


def split_tokens(text: str) -> list[Token]:
    """Return the tokens of ``text``, the last of which is the end."""
    text = text.strip()
    tokens = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            raise NotAFormula
        tokens.append(Token(match.lastgroup, match[match.lastgroup], bool(match["space"])))
        at = match.end()
    return [*tokens, END]


def literal_value(digits: str) -> Fraction:
    """Return the value of a number as it is written."""
    if len(digits) > MAX_DIGITS:
        raise TooHard
    parts = digits.lower().split("e")
    exponent = int(parts[1]) if len(parts) > 1 else 0
    if abs(exponent) > MAX_DIGITS:
        raise TooHard
    return Fraction(parts[0].rstrip(".")) * Fraction(10) ** exponent
