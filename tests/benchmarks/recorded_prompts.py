"""Prompts that other projects recorded from the vendor's encoders, beside those of a family.

    python tests/benchmarks/recorded_prompts.py v4-0731 FOLDER

FOLDER holds pairs ``test_input_1.json`` and ``test_output_1.txt``, as vLLM has them in
``tests/tokenizers_/fixtures/deepseek_v4`` and ``deepseek_v41``, SGLang in
``test/registered/unit/entrypoints/openai/fixtures/dsv41``, and the vendor beside the weights
(V3.2's without a number). They are not part of this repository. The way to think and the effort
are those of the file, else whichever gives the recorded prompt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dslocal.prompts import FAMILIES, Message, Thinking, Tool, ToolCall, render

EOS = "<｜end▁of▁sentence｜>"
BUDGETS = {50: "low", 75: "high", 100: "max"}  # V4.1's efforts by their number
EFFORTS = ("low", "high", "max", None)
SHOWN = 60  # characters of a difference


def read_tools(sent: list[dict[str, Any]] | None) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in sent or []]
    return tuple(
        Tool(each["name"], each.get("description", ""), each["parameters"]) for each in functions
    )


def read_messages(sent: list[dict[str, Any]]) -> list[Message]:
    messages = [
        Message(
            one["role"],
            one.get("content") or "",
            reasoning=one.get("reasoning") or one.get("reasoning_content") or "",
            calls=tuple(
                ToolCall(call["function"]["name"], call["function"]["arguments"])
                for call in one.get("tool_calls") or []
            ),
            tools=read_tools(one.get("tools")),
            task=one.get("task") or "",
        )
        for one in sent
    ]
    if messages[-1].role == "assistant":  # so that no answer to it begins
        messages[-1] = replace(messages[-1], prefix=True)
    return messages


def ways(data: dict[str, Any], efforts: tuple[str, ...]) -> Iterator[tuple[Thinking, str | None]]:
    budget = data.get("reasoning_effort")
    effort = BUDGETS[budget] if isinstance(budget, int) else budget
    names = EFFORTS if effort is None else (effort,)
    for thinking, mode in ((Thinking.FORCED, "thinking"), (Thinking.BYPASSED, "chat")):
        if data.get("thinking_mode", mode) == mode:
            yield from ((thinking, name) for name in names if name is None or name in efforts)


def compare(family_name: str, given: Path) -> str:
    data = json.loads(given.read_text(encoding="utf-8"))
    data = data if isinstance(data, dict) else {"messages": data}
    expected = given.with_name(given.stem.replace("input", "output") + ".txt")
    recorded = expected.read_text(encoding="utf-8").removesuffix("\n")
    if any(isinstance(one.get("content"), list) for one in data["messages"]):
        return "not run: it has parts that are not text"
    messages = read_messages(data["messages"])
    declared = [tool for message in messages for tool in message.tools]
    tools = list({tool.key: tool for tool in (*read_tools(data.get("tools")), *declared)}.values())
    family = FAMILIES[family_name]
    nearest = ""
    for thinking, effort in ways(data, tuple(family.efforts)):
        prompt = render(family.render(messages, thinking, tools, effort=effort))
        prompt += EOS if messages[-1].prefix else ""
        if prompt == recorded:
            return f"exact: {len(recorded):,} characters, {thinking.value}, effort {effort}"
        same = next(
            (n for n, (a, b) in enumerate(zip(prompt, recorded, strict=False)) if a != b),
            min(len(prompt), len(recorded)),
        )
        difference = (
            f"differs at {same:,} of {len(recorded):,}: {prompt[same : same + SHOWN]!r} "
            f"for {recorded[same : same + SHOWN]!r}"
        )
        nearest = nearest or difference
    return nearest


def main(family: str, folder: str) -> int:
    results = {one.name: compare(family, one) for one in sorted(Path(folder).glob("*input*.json"))}
    for name, result in results.items():
        print(f"{name:40} {result}")
    return int(any(result.startswith("differs") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
