"""Tool declarations and calls of DeepSeek-V3.2, V4 and V4.1: ``<｜DSML｜invoke name="…">``.

The rules are those of the vendor's own encoders, as for :mod:`.dsml`. V4's ``｜DSML｜``
is one token, which text never becomes, so no question and no result of a tool can forge a call.
:mod:`dslocal.output.tool_calls` reads the calls back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.prompts.messages import PlainText, Segment, Special, Tool, ToolCall

from .marked import CLOSE, OPEN

DSML = Special("｜DSML｜", or_text=True)  # V3.2's vocabulary may lack it
BY_SPELLING = {special.token: special for special in (DSML, OPEN, CLOSE)}
OUR_TOKENS = re.compile("|".join(BY_SPELLING))  # in the vendor's own texts

V3_2_DECLARATION = """## Tools

You have access to a set of tools you can use to answer the user's question.
You can invoke functions by writing a "<｜DSML｜function_calls>" block like the following as part \
of your reply to the user:
<｜DSML｜function_calls>
<｜DSML｜invoke name="$FUNCTION_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$FUNCTION_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜function_calls>

String and scalar parameters should be specified as is without any escaping or quotes, while \
lists and objects should use JSON format. The "string" attribute should be set to "true" for \
string type parameters and "false" for other types (numbers, booleans, arrays, objects).

If the thinking_mode is enabled, then after function results you should strongly consider \
outputting a thinking block. Here is an example:

<｜DSML｜function_calls>
...
</｜DSML｜function_calls>

<function_results>
...
</function_results>

<think>...thinking about results</think>

Here are the functions available in JSONSchema format:
<functions>
$SCHEMAS
</functions>
"""
V4_DECLARATION = """## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by \
writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types \
(numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning \
inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

$SCHEMAS

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""


@dataclass(frozen=True)
class DsmlToolFormat:
    """How one family writes tools, calls and results.

    Attributes:
        declaration: What is said about the tools; ``$SCHEMAS`` stands for their schemas.
        block: The name of the tag around all calls.
        invoke: The name of the tag around one call.
        parameter: The name of the tag around one argument.
    """

    declaration: str
    block: str = "tool_calls"
    invoke: str = "invoke"
    parameter: str = "parameter"

    def declare(self, tools: Sequence[Tool]) -> list[Segment]:
        """Return what says which tools there are."""
        before, after = self.declaration.split("$SCHEMAS")
        schemas = "\n".join(json_text(_function(tool)) for tool in tools)
        return [*_own_text(before), PlainText(schemas), *_own_text(after)]

    def calls(self, calls: Sequence[ToolCall]) -> list[Segment]:
        """Return the calls of one answer, with the blank line before them."""
        segments: list[Segment] = [PlainText("\n\n"), *self._tag(self.block)]
        for call in calls:
            segments += (PlainText("\n"), *self._tag(f'{self.invoke} name="{call.name}"'))
            segments.append(PlainText("\n"))
            segments += self._arguments(call)
            segments += (PlainText("\n"), *self._tag(self.invoke, closes=True))
        return [*segments, PlainText("\n"), *self._tag(self.block, closes=True)]

    def begin(self, name: str | None = None) -> list[Segment]:
        """Return how an answer begins that calls ``name`` first, up to the arguments.

        Without a name it goes up to where the name is written.
        """
        begin: list[Segment] = [PlainText("\n\n"), *self._tag(self.block), PlainText("\n")]
        if name is None:
            return [*begin, PlainText("<"), DSML, PlainText(f'{self.invoke} name="')]
        return [*begin, *self._tag(f'{self.invoke} name="{name}"'), PlainText("\n")]

    def _arguments(self, call: ToolCall) -> list[Segment]:
        segments: list[Segment] = []
        for key, value in _arguments_of(call).items():
            is_text = isinstance(value, str)
            if segments:
                segments.append(PlainText("\n"))
            kind = "true" if is_text else "false"
            segments += self._tag(f'{self.parameter} name="{key}" string="{kind}"')
            segments.append(PlainText(value if is_text else json_text(value)))
            segments += self._tag(self.parameter, closes=True)
        return segments

    def _tag(self, text: str, *, closes: bool = False) -> list[Segment]:
        return [PlainText("</" if closes else "<"), DSML, PlainText(f"{text}>")]


def _own_text(text: str) -> list[Segment]:
    """Return a text of the vendor's, in which the spelling of a token stands for the token."""
    segments: list[Segment] = []
    start = 0
    for match in OUR_TOKENS.finditer(text):
        segments += (PlainText(text[start : match.start()]), BY_SPELLING[match[0]])
        start = match.end()
    return [*segments, PlainText(text[start:])]


def _arguments_of(call: ToolCall) -> Mapping[str, Any]:
    """Return the arguments of a call by name; text that is not an object is one argument."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": call.arguments}


def _function(tool: Tool) -> dict[str, Any]:
    """Return the schema of a tool, without a description where there is none."""
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parameters": dict(tool.parameters)}


def json_text(value: Any) -> str:
    """Return a value as the encoders write JSON."""
    return json.dumps(value, ensure_ascii=False)
