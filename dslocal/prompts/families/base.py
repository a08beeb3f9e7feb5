"""The parts of a family: how prompts are written, and what its model card recommends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from dslocal.errors import UsageError
from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool
from dslocal.prompts.settings import Setting, Settings

from .tools import CallFormat

BOS = Special("<｜begin▁of▁sentence｜>")
EOS = Special("<｜end▁of▁sentence｜>")
# what clients call an effort, and what DeepSeek's API takes it for
EFFORT_NAMES = {
    "minimal": "low",
    "low": "low",
    "medium": "high",
    "high": "high",
    "xhigh": "high",
    "max": "max",
    "ultra": "max",
}
FIM_HINT = "use a DeepSeek Coder, Coder-V2 or V2-Lite model"


class Format(Protocol):
    """How messages are written."""

    @property
    def think(self) -> tuple[Special, Special] | None:
        """Return the tags that open and close the reasoning; None where there is none."""

    @property
    def tools(self) -> CallFormat | None:
        """Return how tool calls are written; None where there are none."""

    @property
    def stop(self) -> tuple[Special, ...]:
        """Return the tokens that end an answer, besides the GGUF's own."""

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        """Return the prompt for the answer that follows ``messages``."""


@runtime_checkable
class AdjustableFormat(Format, Protocol):
    """A format that can write an effort and a schema into a prompt, and has roles of its own."""

    def prepared(self, effort: str, schema: Any) -> Format:
        """Return the format for an answer with this ``effort``, which ``schema`` shapes."""


@dataclass(frozen=True)
class Signs:
    """What a GGUF of a family looks like.

    Attributes:
        architectures: One of them must be the file's.
        tokens: All of them must be in the vocabulary.
        name: A regular expression for what the file calls itself, lower case with single spaces.
        template: A regular expression for its chat template, which is only a hint.
        shape: Integers that the header must have under the architecture's prefix.
    """

    architectures: frozenset[str]
    tokens: frozenset[str]
    name: str
    template: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recommendation:
    """A range that the model card recommends, and what is said to someone who leaves it."""

    setting: Literal["temperature", "top_p"]
    low: float
    high: float
    message: str


@dataclass(frozen=True)
class Directive:
    """What is added to a mathematical question.

    Attributes:
        english: The directive for questions in English.
        chinese: The directive for questions in Chinese.
        automatic: Whether the family's model card asks for it.
        source: Where it stands.
    """

    english: str
    chinese: str
    automatic: bool
    source: str


@dataclass(frozen=True)
class Fim:
    """How a gap is written: begin, the text before it, hole, the text after it, end.

    ``defaults`` are the settings that it is filled with.
    """

    begin: Special
    hole: Special
    end: Special
    defaults: Settings


@dataclass(frozen=True)
class Family:
    """One way of being prompted.

    Attributes:
        name: What it is called on the command line.
        title: The models that belong to it.
        signs: What their files look like.
        format: How messages are written.
        defaults: The settings of the model card, each with its source.
        thinking_modes: The ways in which an answer may begin, the default first.
        recommendations: What the model card recommends.
        directive: What is added to mathematical questions.
        fim: How a gap is written; None where the family cannot fill gaps.
        is_base: Whether it completes a text and has no turns.
        against_system: Why the model card advises against a system prompt, where it does.
        against_bypassing: Why it advises against answers without reasoning, where it does.
        efforts: What is said about each effort of reasoning, the least first; empty where the
            family knows none.
        default_effort: The effort that is taken if nobody says otherwise.
    """

    name: str
    title: str
    signs: Signs
    format: Format
    defaults: Settings
    thinking_modes: tuple[Thinking, ...] = (Thinking.NONE,)
    recommendations: tuple[Recommendation, ...] = ()
    directive: Directive | None = None
    fim: Fim | None = None
    is_base: bool = False
    against_system: str = ""
    against_bypassing: str = ""
    efforts: Mapping[str, str] = field(default_factory=dict)
    default_effort: str = ""

    @property
    def default_thinking(self) -> Thinking:
        """Return how an answer begins if nobody says otherwise."""
        return self.thinking_modes[0]

    def render(
        self,
        messages: Sequence[Message],
        thinking: Thinking | None = None,
        tools: Sequence[Tool] = (),
        *,
        effort: str | None = None,
        schema: Any = None,
    ) -> list[Segment]:
        """Return the prompt for the answer that follows ``messages``.

        Args:
            messages: The conversation.
            thinking: How the answer begins; None for the family's default.
            tools: The tools that the model may call.
            effort: How thoroughly it reasons, one of :data:`EFFORT_NAMES`; None for the family's
                default.
            schema: The JSON Schema that the answer is held to. Families that have no place for it
                leave it out of the prompt.

        Raises:
            UsageError: If the family cannot do what is asked.
        """
        thinking = thinking or self.default_thinking
        if thinking not in self.thinking_modes:
            known = ", ".join(mode.value for mode in self.thinking_modes)
            raise UsageError(
                f"family {self.name} does not support thinking={thinking.value}",
                hint=f"it supports: {known}",
            )
        has_calls = any(m.calls or m.role == "tool" for m in messages)
        if (tools or has_calls) and self.format.tools is None:
            raise UsageError(f"family {self.name} has no tool calls")
        if self.is_base and any(m.role == "assistant" for m in messages):
            raise UsageError(
                f"family {self.name} is a base model: it completes a text and has no turns",
                hint="use dslocal ask",
            )
        if isinstance(self.format, AdjustableFormat):
            words = self.efforts.get(self.effort_named(effort), "")
            return self.format.prepared(words, schema).render(messages, thinking, tools)
        if effort is not None:
            self.effort_named(effort)
        return self.format.render([_as_known_elsewhere(m) for m in messages], thinking, tools)

    def with_effort(self, name: str | None) -> Family:
        """Return the family with another default effort; itself for None.

        Raises:
            UsageError: If the effort does not exist, or the family does not support efforts.
        """
        return self if name is None else replace(self, default_effort=self.effort_named(name))

    def effort_named(self, name: str | None) -> str:
        """Return the family's effort that ``name`` means; the default for None.

        Source of the names: DeepSeek's API, guide "Thinking Mode". An effort that the family lacks
        is the next higher one.

        Raises:
            UsageError: If the effort does not exist, or the family does not support efforts.
        """
        if name is None or name == "none":
            return self.default_effort
        if name not in EFFORT_NAMES:
            raise UsageError(
                f"no effort is called {name!r:.40}", hint=f"known: none, {', '.join(EFFORT_NAMES)}"
            )
        if not self.efforts:
            raise UsageError(
                f"family {self.name} has no levels of effort",
                hint="use --think or --no-think",
            )
        wanted = EFFORT_NAMES[name]
        return wanted if wanted in self.efforts else next(iter(self.efforts))

    def render_fim(self, prefix: str, suffix: str) -> list[Segment]:
        """Return the prompt for the text between ``prefix`` and ``suffix``.

        Raises:
            UsageError: If the family cannot fill gaps.
        """
        if self.fim is None:
            raise UsageError(
                f"family {self.name} ({self.title}) was not trained to fill in the middle",
                hint=FIM_HINT,
            )
        return [
            BOS,
            self.fim.begin,
            PlainText(prefix),
            self.fim.hole,
            PlainText(suffix),
            self.fim.end,
        ]

    def advice(
        self, settings: Settings, thinking: Thinking | None = None, system: str = ""
    ) -> list[str]:
        """Return one line for every recommendation of the model card that is not kept."""
        lines = []
        for rule in self.recommendations:
            setting: Setting[float] = getattr(settings, rule.setting)
            if not rule.low <= setting.value <= rule.high:
                name = rule.setting.replace("_", "-")
                lines.append(f"{name} {setting.value:g}: {rule.message}")
        if thinking is Thinking.BYPASSED and self.against_bypassing:
            lines.append(f"thinking bypassed: {self.against_bypassing}")
        if system and self.against_system:
            lines.append(f"system prompt: {self.against_system}")
        return lines


def _as_known_elsewhere(message: Message) -> Message:
    """Return ``message`` with a role that all families know."""
    if message.role in ("developer", "latest_reminder"):
        return replace(message, role="system")
    return message
