"""Keep the numbers of JSON text to a length: a model may write digits for ever.

JSON does not limit a number, so a grammar of a schema allows ``0.3333…`` until the context is full.
"""

from __future__ import annotations

from dataclasses import dataclass

# In a row. A double has 17 significant ones; the rest is for small values such as 0.000…1, and for
# long identifiers. (llama.cpp's own grammars of schemas end an integer and a fraction after 16.)
MAX_DIGITS = 40
_QUOTE = ord('"')
_BACKSLASH = ord("\\")
_ZERO = ord("0")
_NINE = ord("9")


@dataclass(slots=True)
class NumberLimit:
    """Follow JSON text, and say when the number at its end is long enough."""

    digits: int = 0
    is_in_string: bool = False
    is_escaped: bool = False

    def read(self, text: bytes) -> None:
        """Continue with ``text``."""
        for byte in text:
            if self.is_escaped:
                self.is_escaped = False
            elif byte == _QUOTE:
                self.is_in_string = not self.is_in_string
                self.digits = 0
            elif self.is_in_string:
                self.is_escaped = byte == _BACKSLASH
            elif _ZERO <= byte <= _NINE:
                self.digits += 1
            else:
                self.digits = 0

    @property
    def is_reached(self) -> bool:
        """Return whether no further digit should follow."""
        return self.digits >= MAX_DIGITS


def begins_with_digit(text: bytes) -> bool:
    """Return whether ``text`` would make a number longer that ends before it."""
    return bool(text) and _ZERO <= text[0] <= _NINE
