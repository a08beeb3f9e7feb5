"""Keep the words of a streamed text whole at the end of a terminal's line.

Code between fences stays as it is: a line break in it would be copied.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

from wcwidth import wcswidth

FENCE = "```"
MAX_WORD = 60  # characters; a longer one is left to the terminal
_PIECE = re.compile(r"\n|[^\S\n]+|\S+")


def terminal_width(stream: TextIO) -> int:
    """Return the cells of a line of the terminal that ``stream`` writes to; 0 for no terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


class WordWrapper:
    """Puts line breaks between the words of a text that comes in parts.

    Args:
        width: Cells of a line; 0 changes nothing.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._line = ""  # of the text, as far as it has come
        self._held = ""  # a word that may go on
        self._is_in_code = False

    def feed(self, text: str) -> str:
        """Return what can be written of all that came, with line breaks."""
        if not self._width:
            return text
        pieces = _PIECE.findall(self._held + text)
        self._held = ""
        if pieces and not pieces[-1].isspace() and len(pieces[-1]) < MAX_WORD:
            self._held = pieces.pop()
        return "".join(map(self._placed, pieces))

    def finish(self) -> str:
        """Return the rest of the text."""
        rest, self._held = self._held, ""
        return self._placed(rest) if rest else ""

    def _placed(self, piece: str) -> str:
        if piece == "\n":
            if self._line.lstrip().startswith(FENCE):
                self._is_in_code = not self._is_in_code
            self._line, self._column = "", 0
            return piece
        width = max(wcswidth(piece), 0)
        is_too_wide = self._column + width > self._width and width <= self._width
        self._line += piece
        if self._is_in_code or not self._column or not is_too_wide:
            end = self._column + width
            self._column = end if end <= self._width else end % self._width
            return piece
        self._column = 0 if piece.isspace() else width
        return "\n" if piece.isspace() else f"\n{piece}"


def wrap_words(text: str, width: int) -> str:
    """Return a whole text with line breaks between its words; a ``width`` of 0 changes nothing."""
    wrapper = WordWrapper(width)
    return wrapper.feed(text) + wrapper.finish()
