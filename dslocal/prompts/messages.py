"""Messages, and the segments that a prompt is made of.

Only a :class:`Special` becomes a special token; text stays text, whatever it spells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what is the same for two tools that are the same, and can be hashed."""
        return self.name, self.description, json.dumps(self.parameters, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's call of a tool. ``arguments`` is JSON as the model wrote it, unchecked."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SampledText:
    """The exact token ids that the model wrote, including special tokens.

    Tokenizing the text again may give other ids, which are not in the KV cache.
    """

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SampledAnswer:
    """An answer as the model wrote it.

    Attributes:
        answer: Its text and calls.
        reasoning: Its reasoning; None where it is to be written again.
    """

    answer: SampledText
    reasoning: SampledText | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: The author of the message. ``tool`` is the result of a call; results are in the order
            of the calls. ``developer`` and ``latest_reminder`` are roles of V3.2 and V4; elsewhere
            they are ``system``.
        content: The text, without reasoning.
        reasoning: The reasoning of an answer. It is sent back to the model only as part of a last
            message with ``prefix``, and by families that keep it while there are tools.
        calls: The tool calls of an answer.
        tools: The tools that a system's or developer's message declares, where the family's format
            has room for that. Other tools of the prompt are declared at its beginning.
        prefix: Whether a last message is the beginning of an answer that the model continues.
        typed: The part of a question that the user typed, where more was sent.
        cut: Why an answer is incomplete: ``interrupted`` or ``length``; empty if it is complete.
        task: The quick-instruction task that a question of V4's is for, such as ``title``.
        sampled: The answer as the model wrote it, which goes into the prompt in place of its parts;
            None where that is not known.
        reasoning_s: Seconds that the reasoning took, where that is known.
    """

    role: Literal["system", "developer", "user", "latest_reminder", "assistant", "tool"]
    content: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[Tool, ...] = ()
    prefix: bool = False
    typed: str = ""
    cut: str = ""
    task: str = ""
    sampled: SampledAnswer | None = None
    reasoning_s: float = field(default=0.0, compare=False)

    @property
    def before_typed(self) -> str:
        """Return the text before the typed part of a question: its files."""
        if not self.typed:
            return ""
        return self.content[: max(0, self.content.rfind(self.typed))]


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its spelling, such as ``<｜User｜>``.

    Attributes:
        token: The spelling.
        or_text: Whether the spelling is written as text where the vocabulary has no such token.
    """

    token: str
    or_text: bool = False


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text that becomes ordinary tokens, whatever it contains."""

    text: str


Segment = Special | PlainText | SampledText


class Thinking(Enum):
    """How an answer begins.

    The prompt opens the reasoning (FORCED), leaves it to the model (FREE), closes it at once
    (BYPASSED), or the model has none (NONE).
    """

    FORCED = "forced"
    FREE = "free"
    BYPASSED = "bypassed"
    NONE = "none"


class Vocabulary(Protocol):
    """The functions of a model's vocabulary that a prompt needs."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text`` as plain text."""

    def special_id(self, token: str) -> int | None:
        """Return the id of a special token by its spelling; None where there is none."""


def encode(segments: Iterable[Segment], vocabulary: Vocabulary) -> list[int]:
    """Return the token ids of a prompt.

    Raises:
        UnsupportedModelError: If the vocabulary lacks a special token of the prompt.
    """
    ids: list[int] = []
    known = [_known(segment, vocabulary) for segment in segments]
    for kind, run in groupby(known, key=type):
        if kind is PlainText:  # texts in a row are one text: a token may reach from one to the next
            ids += vocabulary.encode(render(run))
            continue
        for segment in run:
            ids += segment.ids if isinstance(segment, SampledText) else [_id(segment, vocabulary)]
    return ids


def _id(special: Segment, vocabulary: Vocabulary) -> int:
    token = vocabulary.special_id(render([special]))
    if token is None:
        raise UnsupportedModelError(f"its vocabulary has no {render([special])}")
    return token


def _known(segment: Segment, vocabulary: Vocabulary) -> Segment:
    """Return ``segment``, as text if it may be that and the vocabulary lacks its token."""
    if not isinstance(segment, Special) or not segment.or_text:
        return segment
    has_token = vocabulary.special_id(segment.token) is not None
    return segment if has_token else PlainText(segment.token)


def render(segments: Iterable[Segment]) -> str:
    """Return the prompt as text for people to read; it is never tokenized."""
    return "".join(
        segment.token if isinstance(segment, Special) else segment.text for segment in segments
    )
