"""Whole characters out of token bytes: a token may end in the middle of a UTF-8 character."""

from __future__ import annotations

import codecs


class Utf8Stream:
    """Feed it bytes, get text; the tail of an unfinished character waits for the next feed."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What waits when nothing more comes: U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)
