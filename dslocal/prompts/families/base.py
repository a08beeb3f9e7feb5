"""What a family is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dslocal.errors import UsageError
from dslocal.prompts.messages import Message, Segment, Special, Thinking, Tool
from dslocal.prompts.settings import Setting, Settings

from .tools import ToolFormat

BOS, EOS = Special("<｜begin▁of▁sentence｜>"), Special("<｜end▁of▁sentence｜>")


class Format(Protocol):
    """How messages are written. ``think`` opens and closes a thought; ``stop`` are tokens besides
    the GGUF's own that end an answer.
    """

    @property
    def think(self) -> tuple[Special, Special] | None: ...
    @property
    def tools(self) -> ToolFormat | None: ...
    @property
    def stop(self) -> tuple[Special, ...]: ...

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]: ...


@dataclass(frozen=True)
class Signs:
    """What a GGUF of a family looks like.

    ``architectures``, ``tokens`` (all in the vocabulary) and ``shape`` (integers under the
    architecture's prefix) must hold. ``name`` is looked for in what the file calls itself, lower
    case with single spaces; ``template`` in its chat template, which is a hint and no more.
    """

    architectures: frozenset[str]
    tokens: frozenset[str]
    name: str
    template: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recommendation:
    """A range that the makers ask for. ``words`` say so, and why, to someone who left it."""

    setting: Literal["temperature", "top_p"]
    least: float
    most: float
    words: str


@dataclass(frozen=True)
class Directive:
    """What the makers want added to a mathematical question. ``automatic`` says whether they ask
    for it with this family.
    """

    english: str
    chinese: str
    automatic: bool
    source: str


@dataclass(frozen=True)
class Fim:
    """Fill in the middle: a gap is asked for as begin, what comes before it, hole, what comes after
    it, end. ``defaults`` are its own.
    """

    begin: Special
    hole: Special
    end: Special
    defaults: Settings


@dataclass(frozen=True)
class Family:
    """One way of being prompted. ``thinking_modes`` are the ways in which an answer may begin, the default
    first.

    ``is_base`` marks a base model: it goes on with a text and knows no turns. ``defaults`` carry
    the source of each value. ``against_system`` says why its makers want no system prompt, where
    they do not.
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

    @property
    def default_thinking(self) -> Thinking:
        """How an answer begins unless told otherwise."""
        return self.thinking_modes[0]

    def render(
        self,
        messages: Sequence[Message],
        thinking: Thinking | None = None,
        tools: Sequence[Tool] = (),
    ) -> list[Segment]:
        """The prompt for the answer that follows ``messages``. Raises UsageError for what the
        family cannot do.
        """
        thinking = thinking or self.default_thinking
        if thinking not in self.thinking_modes:
            known = ", ".join(way.value for way in self.thinking_modes)
            raise UsageError(
                f"family {self.name} cannot have its thinking {thinking.value}",
                hint=f"it knows: {known}",
            )
        if (
            tools or any(m.calls or m.role == "tool" for m in messages)
        ) and self.format.tools is None:
            raise UsageError(f"family {self.name} has no tool calls")
        if self.is_base and any(m.role == "assistant" for m in messages):
            raise UsageError(
                f"family {self.name} is a base model: it completes a text and knows no turns",
                hint="dslocal ask completes",
            )
        return self.format.render(messages, thinking, tools)

    def render_fim(self, prefix: str, suffix: str) -> list[Segment]:
        """The prompt for the text between ``prefix`` and ``suffix``. Raises UsageError when the
        family cannot fill gaps.
        """
        from dslocal.prompts.messages import PlainText

        if self.fim is None:
            raise UsageError(
                f"family {self.name} ({self.title}) was not made to fill in the middle",
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
        """One line for every recommendation of the makers that is not kept."""
        lines = []
        for rule in self.recommendations:
            setting: Setting[float] = getattr(settings, rule.setting)
            if not rule.least <= setting.value <= rule.most:
                lines.append(f"{rule.setting.replace('_', '-')} {setting.value:g}: {rule.words}")
        if thinking is Thinking.BYPASSED and self.default_thinking is Thinking.FORCED:
            lines.append(
                "thinking bypassed: its makers recommend that every answer begins with <think>"
            )
        if system and self.against_system:
            lines.append(f"system prompt: {self.against_system}")
        return lines


FIM_HINT = "DeepSeek Coder, Coder-V2 and V2-Lite models do"
