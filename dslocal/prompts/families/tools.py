"""How calls of tools and what they gave are written with V3's special tokens. :mod:`..calls` reads
them back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.prompts.messages import PlainText, Segment, Special, Tool, ToolCall

CALLS_BEGIN, CALLS_END = Special("<｜tool▁calls▁begin｜>"), Special("<｜tool▁calls▁end｜>")
CALL_BEGIN, CALL_END = Special("<｜tool▁call▁begin｜>"), Special("<｜tool▁call▁end｜>")
OUTPUTS_BEGIN, OUTPUTS_END = Special("<｜tool▁outputs▁begin｜>"), Special("<｜tool▁outputs▁end｜>")
OUTPUT_BEGIN, OUTPUT_END = Special("<｜tool▁output▁begin｜>"), Special("<｜tool▁output▁end｜>")
SEPARATOR = Special("<｜tool▁sep｜>")
FENCE, FENCE_END = "```json\n", "\n```"


@dataclass(frozen=True)
class ToolFormat:
    """``typed``: a call is ``function SEP name`` with its arguments in a fence of JSON, one call
    per line, and outputs stand in an enclosing pair; else it is ``name SEP arguments`` with nothing
    between. ``declare`` writes what tools there are, after the system prompt, and ``system`` is
    that prompt when there is none. ``output_end`` stands between two outputs.
    """

    typed: bool
    declare: Callable[[Sequence[Tool]], list[Segment]]
    system: str = ""
    output_end: str = "\n"

    def calls(self, calls: Sequence[ToolCall]) -> list[Segment]:
        """The calls of one answer."""
        segments: list[Segment] = [CALLS_BEGIN]
        for number, call in enumerate(calls):
            if self.typed:
                segments += [PlainText("\n")] if number else []
                written = PlainText(f"{call.name}\n{FENCE}{call.arguments}{FENCE_END}")
                segments += (CALL_BEGIN, PlainText("function"), SEPARATOR, written, CALL_END)
            else:
                segments += (
                    CALL_BEGIN,
                    PlainText(call.name),
                    SEPARATOR,
                    PlainText(call.arguments),
                    CALL_END,
                )
        return [*segments, CALLS_END]

    def begin(self, name: str) -> list[Segment]:
        """How an answer begins that calls ``name`` first, up to the arguments."""
        if self.typed:
            return [
                CALLS_BEGIN,
                CALL_BEGIN,
                PlainText("function"),
                SEPARATOR,
                PlainText(f"{name}\n{FENCE}"),
            ]
        return [CALLS_BEGIN, CALL_BEGIN, PlainText(name), SEPARATOR]

    def outputs(self, contents: Sequence[str]) -> list[Segment]:
        """What the calls of one answer gave."""
        segments: list[Segment] = [OUTPUTS_BEGIN] if self.typed else []
        for number, content in enumerate(contents):
            segments += [PlainText(self.output_end)] if number and self.output_end else []
            segments += (OUTPUT_BEGIN, PlainText(content), OUTPUT_END)
        return [*segments, OUTPUTS_END] if self.typed else segments


def as_v2_5(tools: Sequence[Tool]) -> list[Segment]:
    """The functions as V2.5's model card declares them ("Function calling"). No later card but
    V3.1's says how.
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
    """The functions as V3.1's model card declares them ("ToolCall"), with the tokens that it
    shows.
    """
    functions = "".join(
        f"### {tool.name}\nDescription: {tool.description}\n\nParameters: {_json(dict(tool.parameters))}\n\n"
        for tool in tools
    )
    return [
        PlainText(
            f"## Tools\nYou have access to the following tools:\n\n{functions}IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
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
            "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
            "- For multiple tool calls, chain them directly without separators or spaces"
        ),
    ]


def _function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


HELPFUL = "You are a helpful Assistant."  # V2.5's card has it where no other system prompt stands
V3_TOOLS = ToolFormat(typed=True, declare=as_v2_5, system=HELPFUL)
R1_TOOLS = ToolFormat(typed=True, declare=as_v2_5, system=HELPFUL, output_end="")
V3_1_TOOLS = ToolFormat(typed=False, declare=as_v3_1, output_end="")
