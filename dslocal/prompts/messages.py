"""Messages, and the segments that a prompt is made of. Only a :class:`Special` becomes a special
token; text stays text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, Literal, Protocol

from dslocal.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's call of a tool. ``arguments`` is JSON as the model wrote it, unchecked."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``reasoning`` is kept apart from ``content`` and never sent back to the model,
    with one exception: a last message with ``prefix`` is an answer to go on with, and its thought,
    when it has one, is part of it. Role ``tool`` is what a call gave, in the order of the calls.
    ``typed`` is what the user wrote of a question, where more was sent; ``cut`` says why an answer
    ends before its end: ``interrupted`` or ``length``.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    prefix: bool = False
    typed: str = ""
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its spelling, as ``<｜User｜>``."""

    token: str


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text that becomes ordinary tokens whatever it spells."""

    text: str


Segment = Special | PlainText


class Thinking(Enum):
    """How an answer begins: thought forced by an opening tag, left to the model, bypassed by an
    empty thought, or unknown to it.
    """

    FORCED = "forced"
    FREE = "free"
    BYPASSED = "bypassed"
    NONE = "none"


class Vocabulary(Protocol):
    """What a model's vocabulary can do."""

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` as plain text."""

    def special_id(self, token: str) -> int | None:
        """The id of a special token by its spelling."""


def encode(segments: Iterable[Segment], vocabulary: Vocabulary) -> list[int]:
    """The ids of a prompt. Raises UnsupportedModelError when the vocabulary lacks a special token
    that the family needs.
    """
    ids: list[int] = []
    for is_text, run in groupby(segments, key=lambda segment: isinstance(segment, PlainText)):
        if is_text:  # neighbours are one text: a token may span the seam
            ids += vocabulary.encode(render(run))
            continue
        for special in run:
            token = vocabulary.special_id(render([special]))
            if token is None:
                raise UnsupportedModelError(f"its vocabulary has no {render([special])}")
            ids.append(token)
    return ids


def render(segments: Iterable[Segment]) -> str:
    """The prompt as text, special tokens spelled out: for people to read, never to be tokenized."""
    return "".join(
        segment.text if isinstance(segment, PlainText) else segment.token for segment in segments
    )
