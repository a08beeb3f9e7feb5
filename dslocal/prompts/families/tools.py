"""How tool calls and their results are written with V3's special tokens.

:mod:`dslocal.output.tool_calls` reads the calls back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dslocal.prompts.messages import PlainText, Segment, Special, Tool, ToolCall

CALLS_BEGIN = Special("<｜tool▁calls▁begin｜>")
CALLS_END = Special("<｜tool▁calls▁end｜>")
CALL_BEGIN = Special("<｜tool▁call▁begin｜>")
CALL_END = Special("<｜tool▁call▁end｜>")
OUTPUTS_BEGIN = Special("<｜tool▁outputs▁begin｜>")
OUTPUTS_END = Special("<｜tool▁outputs▁end｜>")
OUTPUT_BEGIN = Special("<｜tool▁output▁begin｜>")
OUTPUT_END = Special("<｜tool▁output▁end｜>")
SEPARATOR = Special("<｜tool▁sep｜>")
FENCE = "```json\n"
FENCE_END = "\n```"


class CallFormat(Protocol):
    """How tools and calls are written."""

    def declare(self, tools: Sequence[Tool]) -> list[Segment]:
        """Return what says which tools there are."""

    def calls(self, calls: Sequence[ToolCall]) -> list[Segment]:
        """Return the calls of one answer."""

    def begin(self, name: str | None = None) -> list[Segment]:
        """Return how an answer begins that calls ``name`` first, up to the arguments.

        Without a name it goes up to where the name is written.
        """


@dataclass(frozen=True)
class ToolFormat:
    """How one family writes tools, calls and results.

    Attributes:
        typed: Whether a call is ``function SEP name`` with its arguments in a fence of JSON, one
            call a line, and results stand in an enclosing pair of tokens. Otherwise a call is
            ``name SEP arguments``, with nothing between two calls.
        declaration: Writes what tools there are, after the system prompt.
        system: The system prompt unless a conversation has its own.
        output_end: What stands between two results.
    """

    typed: bool
    declaration: Callable[[Sequence[Tool]], list[Segment]]
    system: str = ""
    output_end: str = "\n"

    def declare(self, tools: Sequence[Tool]) -> list[Segment]:
        """Return what says which tools there are."""
        return self.declaration(tools)

    def calls(self, calls: Sequence[ToolCall]) -> list[Segment]:
        """Return the calls of one answer."""
        segments: list[Segment] = [CALLS_BEGIN]
        for number, call in enumerate(calls):
            if self.typed:
                kind = "function"
                content = f"{call.name}\n{FENCE}{call.arguments}{FENCE_END}"
            else:
                kind = call.name
                content = call.arguments
            if self.typed and number:
                segments.append(PlainText("\n"))
            segments += (CALL_BEGIN, PlainText(kind), SEPARATOR, PlainText(content), CALL_END)
        return [*segments, CALLS_END]

    def begin(self, name: str | None = None) -> list[Segment]:
        """Return how an answer begins that calls ``name`` first, up to the arguments.

        Without a name it goes up to where the name is written.
        """
        begin: list[Segment] = [CALLS_BEGIN, CALL_BEGIN]
        if self.typed:
            begin += (PlainText("function"), SEPARATOR)
        if name is None:
            return begin
        if self.typed:
            return [*begin, PlainText(f"{name}\n{FENCE}")]
        return [*begin, PlainText(name), SEPARATOR]

    def outputs(self, contents: Sequence[str]) -> list[Segment]:
        """Return the results of the calls of one answer."""
        segments: list[Segment] = [OUTPUTS_BEGIN] if self.typed else []
        for number, content in enumerate(contents):
            if number and self.output_end:
                segments.append(PlainText(self.output_end))
            segments += (OUTPUT_BEGIN, PlainText(content), OUTPUT_END)
        return [*segments, OUTPUTS_END] if self.typed else segments


def as_v2_5(tools: Sequence[Tool]) -> list[Segment]:
    """Return the tools as V2.5's model card declares them, "Function calling".

    Of the later cards only V3.1's says how.
    """
    functions = "".join(
        f"\n- `{tool.name}`:\n{FENCE}{_json(_function(tool), indent=4)}{FENCE_END}\n"
        for tool in tools
    )
    return [
        PlainText(
            f"## Tools\n\n### Function\n\nYou have the following functions available:\n{functions}"
        )
    ]


def as_v3_1(tools: Sequence[Tool]) -> list[Segment]:
    """Return the tools as V3.1's model card declares them, "ToolCall", with its special tokens."""
    functions = "".join(
        f"### {tool.name}\nDescription: {tool.description}\n\n"
        f"Parameters: {_json(dict(tool.parameters))}\n\n"
        for tool in tools
    )
    return [
        PlainText(
            f"## Tools\nYou have access to the following tools:\n\n{functions}"
            "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
        ),
        CALLS_BEGIN,
        CALL_BEGIN,
        PlainText("tool_call_name"),
        SEPARATOR,
        PlainText("tool_call_arguments"),
        CALL_END,
        PlainText("{additional_tool_calls}"),
        CALLS_END,
        PlainText(
            "\n\nWhere:\n"
            "- `tool_call_name` must be an exact match to one of the available tools\n"
            "- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
            "Parameters Schema\n"
            "- For multiple tool calls, chain them directly without separators or spaces"
        ),
    ]


def _function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


HELPFUL = "You are a helpful Assistant."  # V2.5's card has it where no other system prompt stands
V3_TOOLS = ToolFormat(typed=True, declaration=as_v2_5, system=HELPFUL)
R1_TOOLS = ToolFormat(typed=True, declaration=as_v2_5, system=HELPFUL, output_end="")
V3_1_TOOLS = ToolFormat(typed=False, declaration=as_v3_1, output_end="")
