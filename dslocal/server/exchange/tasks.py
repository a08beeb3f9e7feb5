"""The internal request that all formats are translated into.

Every format in :mod:`dslocal.server.wire` reads its requests into these tasks, and writes its
responses from the events of :mod:`.events`. :mod:`dslocal.server.preparation` makes prompts of
tasks. Fields that come from a client carry the client's own name for them, so that an error names
what was sent.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dslocal import prompts
from dslocal.server.wire.client_fields import IgnoredField

PARAGRAPH = "\n\n"  # between parts of a message that a client sends apart
ConstraintKind = Literal["schema", "regex", "choice", "gbnf"]
Role = Literal["system", "developer", "user", "latest_reminder", "assistant", "tool"]


@dataclass(frozen=True)
class SentSetting:
    """The value of a sampling setting, and the field that it came in."""

    name: str
    value: Any
    param: str


@dataclass(frozen=True)
class SentConstraint:
    """What an answer must look like: a JSON Schema, a regular expression, texts or a grammar.

    Attributes:
        field: The field's name.
        kind: ``schema``, ``regex``, ``choice`` or ``gbnf``.
        value: The schema, the expression, the texts or the grammar.
        is_strict: Whether a schema that cannot be enforced completely is refused.
    """

    field: str
    kind: ConstraintKind
    value: Any
    is_strict: bool = False


@dataclass(frozen=True)
class ContextLimit:
    """How many tokens prompt and answer may have together, and the field that says so."""

    tokens: int
    field: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all tasks have.

    Attributes:
        model: The model's name; None for the one that is served.
        settings: Sampling settings, above those of the server. Of two with one name, the last
            holds.
        seed: The seed of the first answer; None for a random one.
        n: How many answers are generated to each prompt.
        top_logprobs: How many alternatives each token's logprobs have; None for no logprobs.
        constraint: What the answer must look like; None where it is free.
        ignored: What was sent, is known, and is not obeyed.
        keep_s: Seconds that the model stays loaded afterwards; None where that is not said.
        context_limit: The tokens that prompt and answer may have together; None for the context.
    """

    model: str | None = None
    settings: tuple[SentSetting, ...] = ()
    seed: int | None = None
    n: int = 1
    top_logprobs: int | None = None
    constraint: SentConstraint | None = None
    ignored: tuple[IgnoredField, ...] = ()
    keep_s: float | None = None
    context_limit: ContextLimit | None = None


@dataclass(frozen=True)
class SentCall:
    """A tool call of an earlier answer. ``arguments`` is JSON as the client sent it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class SentMessage:
    """A message of the conversation, all of it text.

    Attributes:
        role: Who says it.
        text: What is said.
        reasoning: The reasoning of an answer.
        calls: The tool calls of an answer.
        call_id: The call whose result a tool's message is.
        tool_name: The tool whose result it is, for clients that name no call.
        tools: The tools that it declares, which are also among those of the conversation.
        prefix: Whether the last message is the beginning of the answer.
    """

    role: Role
    text: str
    reasoning: str = ""
    calls: tuple[SentCall, ...] = ()
    call_id: str = ""
    tool_name: str = ""
    tools: tuple[prompts.Tool, ...] = ()
    prefix: bool = False

    def joined(self, other: SentMessage) -> SentMessage:
        """Return this message with what ``other``, of the same role, says after it."""
        return replace(
            self,
            text=PARAGRAPH.join(text for text in (self.text, other.text) if text),
            reasoning=PARAGRAPH.join(text for text in (self.reasoning, other.reasoning) if text),
            calls=(*self.calls, *other.calls),
        )


@dataclass(frozen=True)
class ReasoningSwitch:
    """What one field says about reasoning.

    Attributes:
        field: The field's name.
        is_on: Whether the answer begins with reasoning.
        level: How much, where it says that; only some of DeepSeek's models support it.
        is_hint: Whether a model without reasoning answers all the same.
    """

    field: str
    is_on: bool
    level: str = ""
    is_hint: bool = False


@dataclass(frozen=True)
class ReasoningWish:
    """What a request says about reasoning.

    Attributes:
        switches: What each field says; fields that contradict each other are refused.
        budget: Tokens of reasoning at most; None for no limit.
        budget_field: The field that has the budget.
    """

    switches: tuple[ReasoningSwitch, ...] = ()
    budget: int | None = None
    budget_field: str = ""


@dataclass(frozen=True)
class OfferedTool:
    """A tool, and whether its arguments must be as its schema says."""

    tool: prompts.Tool
    is_strict: bool = False

    @property
    def key(self) -> tuple[Hashable, bool]:
        """Return what is the same for two tools that are offered alike, and can be hashed."""
        return self.tool.key, self.is_strict


@dataclass(frozen=True)
class ToolChoice:
    """Which tools may be called, and whether one has to be.

    Attributes:
        mode: ``none`` offers no tool, ``required`` has the answer call one.
        named: The tool that has to be called; empty where there are several.
        allowed: The tools that may be called; None for all.
        is_one_call: Whether an answer has one call at most.
    """

    mode: Literal["none", "auto", "required"] = "auto"
    named: str = ""
    allowed: frozenset[str] | None = None
    is_one_call: bool = False


@dataclass(frozen=True, kw_only=True)
class ChatTask(Task):
    """A conversation to answer."""

    messages: Sequence[SentMessage]
    tools: Sequence[OfferedTool] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    reasoning: ReasoningWish = field(default_factory=ReasoningWish)


@dataclass(frozen=True, kw_only=True)
class CompletionTask(Task):
    """Texts to continue, or a gap to fill.

    Attributes:
        prompts: Texts or token ids.
        suffix: What follows the gap; None where a text is continued.
        has_echo: Whether every answer begins with its prompt.
        has_answer: Whether anything is generated.
    """

    prompts: Sequence[str | Sequence[int]]
    suffix: str | None = None
    has_echo: bool = False
    has_answer: bool = True


@dataclass(frozen=True, kw_only=True)
class InfillTask(Task):
    """A gap to fill, with other code around it.

    Attributes:
        prefix: The text before the gap.
        suffix: What follows it.
        snippets: Pieces of other files, the newest last.
        beginning: What the text of the gap begins with.
        has_answer: Whether anything is generated.
    """

    prefix: str
    suffix: str
    snippets: Sequence[str] = ()
    beginning: str = ""
    has_answer: bool = True
