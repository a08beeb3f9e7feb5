"""Offer the model a function, and read its calls.

nano never learned to call tools, so it answers itself; a model that did yields ToolCall events.
"""

import json

import dslocal

WEATHER = dslocal.Tool(
    name="weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)

with dslocal.load("nano") as model:
    for event in model.stream("What is 47 × 86?", tools=[WEATHER], seed=1):
        match event:
            case dslocal.ToolCall(name, arguments):
                print("call", name, "with", json.loads(arguments))
            case dslocal.Done(answer):
                print(answer.text or f"{len(answer.tool_calls)} calls")
