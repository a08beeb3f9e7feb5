"""Proves that tools are declared word for word as the model cards of V2.5 and V3.1 declare them."""

from __future__ import annotations

import json

import pytest
from support.prompts.dialogues import (
    SEARCH,
    TOKYO,
    TURNS,
    WEATHER,
    calling,
    output,
    system,
    user,
)

from dslocal.errors import UsageError
from dslocal.prompts import FAMILIES, Special, render

B = "<｜begin▁of▁sentence｜>"
U = "<｜User｜>"
A = "<｜Assistant｜>"
# the example of V2.5's model card, "Function calling"
FUNCTION = """{
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {
                "type": "string",
                "description": "The city and state, e.g. San Francisco, CA"
            },
            "unit": {
                "type": "string",
                "enum": [
                    "celsius",
                    "fahrenheit"
                ]
            }
        },
        "required": [
            "location"
        ]
    }
}"""
V2_5 = (
    "## Tools\n\n### Function\n\nYou have the following functions available:\n\n"
    f"- `get_current_weather`:\n```json\n{FUNCTION}\n```\n"
)
HELPFUL = "You are a helpful Assistant."
# V3.1's model card, "ToolCall"
V3_1_TOOL = "### {name}\nDescription: {description}\n\nParameters: {parameters}\n\n"
V3_1 = (
    "## Tools\nYou have access to the following tools:\n\n{tools}"
    "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>"
    "tool_call_arguments<｜tool▁call▁end｜>"
    "{{additional_tool_calls}}<｜tool▁calls▁end｜>\n\nWhere:\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
    "Parameters Schema\n"
    "- For multiple tool calls, chain them directly without separators or spaces"
)
WEATHER_3_1 = V3_1_TOOL.format(
    name=WEATHER.name, description=WEATHER.description, parameters=json.dumps(WEATHER.parameters)
)
MARKED = ("v2.5", "v3", "v3-0324", "r1-0528")
FOLDED = ("r1", "nano")  # which put it in front of the first question, like all instructions
ASKED, INSTRUCTED = [user("a")], [system("x"), user("a")]


@pytest.mark.parametrize("name", MARKED)
def test_as_v2_5(name: str) -> None:
    family = FAMILIES[name]
    assert render(family.render(ASKED, tools=[WEATHER])) == f"{B}{HELPFUL}\n\n{V2_5}{U}a{A}"
    assert render(family.render(INSTRUCTED, tools=[WEATHER])) == f"{B}x\n\n{V2_5}{U}a{A}"


@pytest.mark.parametrize("name", FOLDED)
def test_as_v2_5_in_front_of_the_question(name: str) -> None:
    family = FAMILIES[name]
    assert (
        render(family.render(ASKED, tools=[WEATHER]))
        == f"{B}{U}{HELPFUL}\n\n{V2_5}\n\na{A}<think>\n"
    )
    assert (
        render(family.render(INSTRUCTED, tools=[WEATHER])) == f"{B}{U}x\n\n{V2_5}\n\na{A}<think>\n"
    )


def test_as_v3_1() -> None:
    family, declared = FAMILIES["v3.1"], V3_1.format(tools=WEATHER_3_1)
    assert render(family.render(ASKED, tools=[WEATHER])) == f"{B}{declared}{U}a{A}</think>"
    assert (
        render(family.render(INSTRUCTED, tools=[WEATHER])) == f"{B}x\n\n{declared}{U}a{A}</think>"
    )
    shown = [s.token for s in family.render(ASKED, tools=[WEATHER]) if isinstance(s, Special)]
    assert shown[1:6] == [
        f"<｜tool▁{what}｜>"
        for what in ("calls▁begin", "call▁begin", "sep", "call▁end", "calls▁end")
    ]


def test_two_tools_and_no_ascii() -> None:
    """One deliberate difference: V3.1's card says json.dumps, which would write ``搜索`` as
    ``\\u641c\\u7d22``.
    """
    parameters = (
        '{"type": "object", "properties": {"q": {"type": "string", "description": "Wörter"}}}'
    )
    search = V3_1_TOOL.format(
        name="search", description="Sucht im Netz: 搜索", parameters=parameters
    )
    assert json.dumps(SEARCH.parameters) == parameters.replace("ö", "\\u00f6")
    assert V3_1.format(tools=WEATHER_3_1 + search) in render(
        FAMILIES["v3.1"].render(ASKED, tools=[WEATHER, SEARCH])
    )
    declared = render(FAMILIES["v3"].render(ASKED, tools=[WEATHER, SEARCH]))
    assert (
        '```\n\n- `search`:\n```json\n{\n    "name": "search",\n'
        '    "description": "Sucht im Netz: 搜索",\n' in declared
    )


WITHOUT = sorted(name for name, family in FAMILIES.items() if family.format.tools is None)
USING = [user("a"), calling(TOKYO)], [user("a"), output("10")]


@pytest.mark.parametrize("name", WITHOUT)
def test_families_without_tools_say_so(name: str) -> None:
    with pytest.raises(UsageError, match=f"family {name} has no tool calls"):
        FAMILIES[name].render(TURNS["one turn"], tools=[WEATHER])
    for messages in USING:
        with pytest.raises(UsageError, match="has no tool calls"):
            FAMILIES[name].render(messages)
