"""The events of a request, which the generating threads report.

Does not know how events reach a client: :mod:`dslocal.server.wire` turns them into bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal import output

if TYPE_CHECKING:
    from dslocal.engine import TokenLogprobs
    from dslocal.output.reasoning import AnswerEvent


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of one answer.

    Attributes:
        choice: The number of the answer, from 0.
        part: The reasoning, text or tool call that was generated.
        sure: Whether the text so far can no longer turn out to be reasoning.
        logprobs: Those of the part's tokens, and of tokens before it that made no part.
    """

    choice: int
    part: AnswerEvent
    sure: bool
    logprobs: Sequence[TokenLogprobs] = ()


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of the answer with the number ``choice``."""

    choice: int
    turn: output.Turn


RunEvent = AnswerPart | AnswerEnd

KEY_BYTES = 10
CALL_KEY_LENGTH = 2 * KEY_BYTES + 4


def new_key() -> str:
    """Return a name for a request that no other has."""
    return secrets.token_hex(KEY_BYTES)


def call_key(key: str, choice: int, index: int) -> str:
    """Return what names a tool call in every format, after a prefix of the format's own.

    Args:
        key: The request's key.
        choice: The number of the answer.
        index: The number of the call in the answer.
    """
    return f"{key}{choice:02x}{index:02x}"
