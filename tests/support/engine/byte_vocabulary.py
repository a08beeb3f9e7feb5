"""A vocabulary of single bytes, tags and a few words, without a model: for tests of grammars."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

NORMAL = 1
CONTROL = 3
USER_DEFINED = 4
EOS = "<｜end▁of▁sentence｜>"
TAGS = ("<think>", "</think>", "｜DSML｜")
CALLS = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
)
WORDS = (b"</", b'">', b"\n<", b"parameter", b'="', b"true", b"false", b"}</", b"ab</")


class ByteVocabulary:
    """What a grammar and a parser ask of a model.

    Attributes:
        n_vocab: The number of tokens.
    """

    path = Path("bytes.gguf")

    def __init__(self, *, has_dsml: bool) -> None:
        tags = TAGS if has_dsml else TAGS[:2]
        self._pieces = [bytes([byte]) for byte in range(256)] + list(WORDS)
        self._specials = {
            token: len(self._pieces) + at for at, token in enumerate([EOS, *CALLS, *tags])
        }
        kinds = [USER_DEFINED if token in tags else CONTROL for token in self._specials]
        self.token_types = [NORMAL] * len(self._pieces) + kinds
        self._spellings = [*map(repr, self._pieces), *self._specials]
        self.n_vocab = len(self._spellings)
        self.header: Any = SimpleNamespace(metadata={}, tokens=lambda: self._spellings)

    def encode(self, text: str) -> list[int]:
        """Return the bytes of ``text``."""
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; those of a tag are its spelling."""
        if token < len(self._pieces):
            return self._pieces[token]
        spelling = self._spellings[token]
        return spelling.encode() if spelling in TAGS else b""

    def special_id(self, token: str) -> int | None:
        """Return the id of a special token."""
        return self._specials.get(token)

    def is_end_token(self, token: int) -> bool:
        """Return whether ``token`` ends an answer."""
        return token == self._specials[EOS]
