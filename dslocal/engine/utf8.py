"""Make whole characters from the bytes of tokens: a token may end in the middle of a character."""

from __future__ import annotations

import codecs

_Decoder = codecs.getincrementaldecoder("utf-8")


class Utf8Stream:
    """A decoder that is fed bytes and returns text.

    The bytes of an unfinished character wait for the next call.
    """

    def __init__(self) -> None:
        self._decoder = _Decoder("replace")

    def feed(self, data: bytes) -> str:
        """Return the text that ``data`` completes."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Return what still waits: U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
