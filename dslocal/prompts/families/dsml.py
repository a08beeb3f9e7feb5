"""Turns of DeepSeek-V3.2, V4 and V4.1, whose tool calls are in :mod:`.dsml_tools`.

The rules are those of the vendor's own encoders, ``encoding/encoding_dsv32.py`` and
``encoding/encoding_dsv4.py`` beside the weights, to the character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dslocal.prompts.messages import Message, PlainText, Segment, Special, Thinking, Tool

from .base import BOS, EOS
from .dsml_tools import DsmlToolFormat, json_text
from .marked import ASSISTANT, CLOSE, OPEN, USER

SYSTEM = Special("<｜System｜>")
REMINDER = Special("<｜latest_reminder｜>")
ASKING = ("user", "developer")  # roles that an answer follows
RESPONSE_FORMAT = (
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
)


@dataclass(frozen=True)
class Dsml:
    """Turns of V3.2 and what came after it.

    Attributes:
        tools: How tool calls are written; None where the family has none.
        results: ``turn``: results of calls are a turn of the user's. ``continued``: the answer goes
            on after them.
        keeps_reasoning: Whether all reasoning stays in the prompt when there are tools.
        system: What stands before the system prompt, and before the effort.
        effort: What is said about the effort at the very beginning.
        schema: What the answer must look like; None where that is left open.
        think: The tags around the reasoning.
        stop: Tokens that end an answer, besides the GGUF's own.
    """

    tools: DsmlToolFormat | None
    results: Literal["turn", "continued"] = "turn"
    keeps_reasoning: bool = True
    system: tuple[Segment, ...] = ()
    effort: str = ""
    schema: Any = None
    think: tuple[Special, Special] = (OPEN, CLOSE)
    stop: tuple[Special, ...] = (USER,)

    def prepared(self, effort: str, schema: Any) -> Dsml:
        """Return the format for an answer with this ``effort``, which ``schema`` shapes."""
        return replace(self, effort=effort, schema=schema)

    def render(
        self, messages: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> list[Segment]:
        """Return the prompt for the answer that follows ``messages``."""
        turns = _merged_turns(messages) if self.results == "turn" else list(messages)
        keeps_all = bool(self.keeps_reasoning and self.tools and tools)
        if thinking is Thinking.FORCED and not keeps_all:
            turns = self._without_past_developers(turns)
        needs_system = (_undeclared(tools, turns) or self.schema is not None) and (
            not turns or turns[0].role not in ("system", "developer")
        )
        if needs_system:
            turns.insert(0, Message("system", ""))
        return _DsmlWriter(self, turns, thinking, tools).write()

    def last_question(self, turns: Sequence[Message]) -> int:
        """Return the number of the last turn that an answer follows; -1 where there is none."""
        return max((n for n, turn in enumerate(turns) if self.is_question(n, turn)), default=-1)

    def is_question(self, number: int, turn: Message) -> bool:
        """Return whether an answer follows ``turn``, which stands at place ``number``."""
        is_later_system = bool(self.system) and turn.role == "system" and number > 0
        return turn.role in ASKING or is_later_system

    def _without_past_developers(self, turns: Sequence[Message]) -> list[Message]:
        """Return ``turns`` without developers' messages before the last question.

        The vendor drops them together with the reasoning of that time. What they declare is
        declared at the beginning then.
        """
        last = self.last_question(turns)
        return [turn for n, turn in enumerate(turns) if n >= last or turn.role != "developer"]


class _DsmlWriter:
    """Writes the turns of one prompt."""

    def __init__(
        self, form: Dsml, turns: Sequence[Message], thinking: Thinking, tools: Sequence[Tool]
    ) -> None:
        self._form = form
        self._thinks = thinking is Thinking.FORCED
        self._tools = tools if form.tools else ()
        self._tool_keys = {tool.key for tool in self._tools}
        self._first_tools = _undeclared(self._tools, turns)
        self._keeps_all = bool(form.keeps_reasoning and self._tools)
        self._turns = list(turns)
        self._last_question = form.last_question(turns)
        self._segments: list[Segment] = [BOS]

    def write(self) -> list[Segment]:
        """Return the prompt."""
        effort = self._form.effort if self._thinks and self._turns else ""
        starts_with_system = bool(self._turns) and self._turns[0].role == "system"
        if effort or starts_with_system:
            self._segments += self._form.system
        self._add_text(effort)
        for number, turn in enumerate(self._turns):
            self._write_turn(number, turn)
            if self._is_followed_by_answer(number):
                self._begin_answer(number, turn)
        if not self._turns or not self._ends_open():
            self._segments += (ASSISTANT, OPEN if self._thinks else CLOSE)
        return self._segments

    def _write_turn(self, number: int, turn: Message) -> None:
        match turn.role:
            case "system":
                if number:
                    self._segments += self._form.system
                self._add_text(turn.content)
                self._add_declarations(number, turn)
            case "developer":
                self._write_developer(number, turn)
            case "user":
                self._segments.append(USER)
                self._add_text(turn.content)
            case "latest_reminder":
                self._segments.append(REMINDER)
                self._add_text(turn.content)
            case "tool":
                self._write_result(number, turn)
            case "assistant":
                self._write_answer(number, turn)

    def _write_developer(self, number: int, turn: Message) -> None:
        """Write a developer's message, which is a user's with declarations."""
        self._segments.append(USER)
        if self._form.results == "turn":
            self._add_text(turn.content)
            self._add_declarations(number, turn)
        else:
            self._add_declarations(number, turn)
            self._add_text(f"\n\n# The user's message is: {turn.content}")

    def _add_declarations(self, number: int, turn: Message) -> None:
        """Write the tools that a message declares.

        To the first belong those that none declares, too, and the response format.
        """
        tools = [tool for tool in turn.tools if tool.key in self._tool_keys]
        if not number:
            tools += self._first_tools
        if tools and self._form.tools:
            self._segments += (PlainText("\n\n"), *self._form.tools.declare(tools))
        if self._form.schema is not None and not number:
            self._add_text(f"\n\n{RESPONSE_FORMAT}{json_text(self._form.schema)}")

    def _write_result(self, number: int, turn: Message) -> None:
        """Write one result of V3.2's calls, after which the same answer goes on."""
        if not number or self._turns[number - 1].role != "tool":
            self._add_text("\n\n<function_results>")
        self._add_text(f"\n<result>{turn.content}</result>")
        if number + 1 < len(self._turns) and self._turns[number + 1].role == "tool":
            return
        thinks = self._thinks and number >= self._last_question
        self._segments += (
            PlainText("\n</function_results>\n\n"),
            OPEN if thinks else CLOSE,
        )

    def _write_answer(self, number: int, turn: Message) -> None:
        is_task = number > 0 and bool(self._turns[number - 1].task)
        is_current = self._keeps_all or number > self._last_question
        is_open = turn.prefix and number == len(self._turns) - 1
        if self._thinks and not is_task and is_current:
            if turn.sampled and turn.sampled.reasoning:
                self._segments.append(turn.sampled.reasoning)
            else:
                self._add_text(turn.reasoning)
            if is_open and not turn.content and not turn.calls:
                return
            self._segments.append(CLOSE)
        if turn.sampled:
            self._segments.append(turn.sampled.answer)
        else:
            self._add_text(turn.content)
            if turn.calls and self._form.tools:
                self._segments += self._form.tools.calls(turn.calls)
        if not is_open:
            self._segments.append(EOS)

    def _begin_answer(self, number: int, turn: Message) -> None:
        """Write how the answer to ``turn`` begins, unless a task says what is to be written."""
        if turn.task and turn.task != "action":
            self._segments.append(Special(f"<｜{turn.task}｜>"))
            return
        is_current = self._keeps_all or bool(turn.task) or number >= self._last_question
        self._segments += (ASSISTANT, OPEN if self._thinks and is_current else CLOSE)
        if turn.task:
            self._segments.append(Special("<｜action｜>"))

    def _is_followed_by_answer(self, number: int) -> bool:
        """Return whether an answer comes after this turn, an earlier one or the one asked for."""
        if not self._form.is_question(number, self._turns[number]):
            return False
        if number + 1 == len(self._turns) or self._form.results == "continued":
            return True
        return self._turns[number + 1].role in ("assistant", "latest_reminder")

    def _ends_open(self) -> bool:
        """Return whether the prompt ends where the model is to write."""
        last = self._turns[-1]
        if last.role == "assistant":
            return last.prefix
        return last.role == "tool" or self._is_followed_by_answer(len(self._turns) - 1)

    def _add_text(self, text: str) -> None:
        if text:
            self._segments.append(PlainText(text))


def _undeclared(tools: Sequence[Tool], turns: Sequence[Message]) -> list[Tool]:
    """Return those of ``tools`` that none of ``turns`` declares."""
    declared = {tool.key for turn in turns for tool in turn.tools}
    return [tool for tool in tools if tool.key not in declared] if declared else list(tools)


def _merged_turns(messages: Sequence[Message]) -> list[Message]:
    """Return ``messages`` with results of calls as the user's, and the user's in a row as one."""
    turns: list[Message] = []
    for message in messages:
        turn = message
        if message.role == "tool":
            turn = Message("user", f"<tool_result>{message.content}</tool_result>")
        previous = turns[-1] if turns else None
        if (
            previous
            and turn.role == previous.role == "user"
            and (message.role == "tool" or not previous.task)
        ):
            content = f"{previous.content}\n\n{turn.content}"
            turns[-1] = replace(previous, content=content, task=turn.task or previous.task)
        else:
            turns.append(turn)
    return turns
