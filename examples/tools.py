"""Offer the model a function, and read the call that it makes. dslocal calls nothing itself."""

import json

import dslocal

WEATHER = dslocal.Tool(
    name="weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)

with dslocal.load("nano") as model:
    for event in model.stream("What is the weather in Lima?", tools=[WEATHER], seed=1):
        match event:
            case dslocal.ToolCall(name, arguments):
                print("call", name, "with", json.loads(arguments))
            case dslocal.Done(answer):
                print("finish reason:", answer.finish_reason)
