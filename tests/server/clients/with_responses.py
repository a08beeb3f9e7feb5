"""openai's client.responses: whole, streams, tools, parse, earlier responses, items."""

import json
import sys

import openai
from pydantic import BaseModel

BASE = sys.argv[1]
client = openai.OpenAI(base_url=f"{BASE}/v1", api_key="none")
HOW = {"model": "nano", "temperature": 0}
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
whole = client.responses.create(**HOW, input="What is 31 + 57?")
assert "88" in whole.output_text
assert whole.status == "completed"
assert whole.usage.output_tokens_details.reasoning_tokens > 0

with client.responses.stream(**HOW, input="What is 31 + 57?") as stream:
    kinds = [event.type for event in stream]
    final = stream.get_final_response()
assert final.output_text == whole.output_text
assert kinds[0] == "response.created"
assert kinds[-1] == "response.completed"
print("stream:", final.output_text, len(kinds), "events")

called = client.responses.create(
    **HOW, input="What is the weather in Lima?", tools=[TOOL], tool_choice="required"
)
(call,) = [item for item in called.output if item.type == "function_call"]
assert list(json.loads(call.arguments)) == ["city"]
result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees, sunny"}
said = client.responses.create(
    **HOW, input=[result], previous_response_id=called.id, tools=[TOOL], max_output_tokens=100
)
assert said.output
print("tool:", call.arguments, "|", said.output_text)


class Sum(BaseModel):
    answer: int


parsed = client.responses.parse(**HOW, input="What is 31 + 57?", text_format=Sum)
assert parsed.output_parsed == Sum(answer=88)
assert client.responses.retrieve(whole.id).output_text == whole.output_text
items = list(client.responses.input_items.list(said.id, order="asc"))
assert [item.type for item in items][-1] == "function_call_output"
client.responses.delete(whole.id)
try:
    client.responses.retrieve(whole.id)
    raise AssertionError("a deleted response was returned")
except openai.NotFoundError:
    print("responses: done")
