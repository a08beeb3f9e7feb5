"""One answer as it grows: its text, reasoning and tool calls, and what its generation cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dslocal.prompts.messages import Message, ToolCall

from .constraint import OutputConstraint
from .growing import GrowingCalls, GrowingText, grow
from .loops import Loop
from .reasoning import AnswerEvent, Reasoning, Reclassified, Text
from .steering import Steering
from .tool_calls import ToolCallArguments, ToolCallStarted

if TYPE_CHECKING:
    from dslocal.engine.grammar.grammar import Grammar
    from dslocal.types import FinishReason, Timings, TokenLogprobs


@dataclass
class Turn:
    """One answer, whole once its stream has ended and partial where that was interrupted.

    Attributes:
        prompt_tokens: Tokens of the prompt, and of the partial answer that is continued.
        cached_tokens: How many of these were in the KV cache already.
        completion_tokens: Tokens of the answer: reasoning, text, calls and resumed tokens.
        reasoning_tokens: How many of these are reasoning.
        drafted_tokens: Tokens that were drafted ahead.
        accepted_tokens: How many of these were right.
        reasoning: The reasoning so far.
        reasoning_s: Seconds from the first token to the last of the reasoning.
        text: The text of the answer so far.
        calls: The tool calls so far.
        seed: The seed that the answer is sampled with.
        finish_reason: Why the answer ended; None while it is generated.
        timings: Seconds of prefill and decoding; None while it is generated.
        text_is_certain: Whether ``text`` can no longer turn out to be reasoning.
        top_logprobs: Ask for the logprobs of every token and of so many likeliest ones; None asks
            for none.
        logprobs: The logprobs that were asked for, one entry a new token.
        prompt_logprobs: Those of the prompt's tokens after the first, where they were asked for.
        constraint: What the text must look like.
        grammar: The constraint's grammar where it is compiled already. It is copied.
        loop: The endless repetition that ended the answer, or only its reasoning.
        steering: What closes the reasoning and holds the answer to its grammar.
        stop_text: The stop text that ended the answer; None where none did.
        ids: The token ids of the answer.
        settle: Fills in what is known only at the end of the generation; None once that is done.
        resumed_tokens: How many of ``ids`` come from the partial answer that is continued. Timings,
            drafted, accepted and cached tokens are of what came after them.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    reasoning: GrowingText = GrowingText()  # noqa: RUF009 - a descriptor, as dataclasses allow
    reasoning_s: float = 0.0
    text: GrowingText = GrowingText()  # noqa: RUF009
    calls: GrowingCalls = GrowingCalls()  # noqa: RUF009
    seed: int = 0
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    text_is_certain: bool = False
    top_logprobs: int | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    constraint: OutputConstraint | None = None
    grammar: Grammar | None = None
    loop: Loop | None = None
    steering: Steering | None = None
    stop_text: str | None = None
    ids: list[int] = field(default_factory=list)
    settle: Callable[[], None] | None = None
    resumed_tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """Return the speed of decoding; 0 while it is not known."""
        if self.timings is None or self.timings.decode <= 0:
            return 0.0
        return (self.completion_tokens - self.resumed_tokens) / self.timings.decode

    @property
    def is_cut(self) -> bool:
        """Return whether max_tokens, the context or a loop ended the answer."""
        return self.finish_reason is not None and self.finish_reason.value == "length"

    @property
    def no_answer(self) -> str | None:
        """Return why a whole answer is empty, in a few words; None where it is not, or was cut."""
        if self.finish_reason is None or self.is_cut or self.text.strip() or self.calls:
            return None
        if self.reasoning.strip():
            return "the model stopped during its reasoning or directly after it"
        return "the model stopped without an answer"

    @property
    def warning(self) -> str | None:
        """Return the warning about a repetition without end; None where there is none."""
        if self.loop is None:
            return None
        part = "answer" if self.is_cut else "reasoning"
        return f"the {part} was cut off because it repeats itself: {self.loop}"

    @property
    def message(self) -> Message:
        """Return the answer as a message of the conversation."""
        reason = self.finish_reason.value if self.finish_reason else "interrupted"
        cut = "" if reason == "stop" else reason
        calls = tuple(self.calls)
        seconds = round(self.reasoning_s, 1) if self.reasoning else 0.0
        return Message("assistant", self.text, self.reasoning, calls, cut=cut, reasoning_s=seconds)

    def add(self, event: AnswerEvent) -> None:
        """Add what ``event`` brings to the answer."""
        match event:
            case Reasoning(text):
                grow(self, "reasoning", text)
            case Text(text):
                grow(self, "text", text)
            case Reclassified():
                self.reasoning, self.text = self.text, ""
            case ToolCallStarted(_, name):
                self.calls.append(ToolCall(name, ""))
            case ToolCallArguments(_, text):
                grow(self, "calls", text)
