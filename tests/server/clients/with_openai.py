"""openai: sync, async, streams, tools, structured output, FIM through /beta."""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

BASE = sys.argv[1]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
ASKED = [{"role": "user", "content": "What is 31 + 57?"}]
client = openai.OpenAI(base_url=f"{BASE}/v1", api_key="none")

assert [model.id for model in client.models.list()] == ["nano"]
whole = client.chat.completions.create(model="nano", messages=ASKED, temperature=0)
assert "88" in whole.choices[0].message.content
assert whole.choices[0].message.reasoning_content
assert whole.usage.completion_tokens_details.reasoning_tokens > 0
print("sync:", whole.choices[0].message.content)

pieces = []
thought = []
usage = None
for chunk in client.chat.completions.create(
    model="nano", messages=ASKED, temperature=0, stream=True, stream_options={"include_usage": True}
):
    for choice in chunk.choices:
        pieces.append(choice.delta.content or "")
        thought.append(getattr(choice.delta, "reasoning_content", None) or "")
    usage = chunk.usage or usage
assert "".join(pieces) == whole.choices[0].message.content
assert "".join(thought) == whole.choices[0].message.reasoning_content
assert usage.total_tokens == whole.usage.total_tokens
print("stream:", "".join(pieces))


async def several() -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"{BASE}/v1", api_key="none") as both:
        made = [
            both.chat.completions.create(model="nano", messages=ASKED, temperature=0)
            for _ in range(4)
        ]
        return [reply.choices[0].message.content for reply in await asyncio.gather(*made)]


assert set(asyncio.run(several())) == {whole.choices[0].message.content}
print("async: 4 alike")

called = client.chat.completions.create(
    model="nano", messages=ASKED, tools=TOOLS, tool_choice="required", max_tokens=200, temperature=0
)
call = called.choices[0].message.tool_calls[0]
assert (called.choices[0].finish_reason, call.function.name) == ("tool_calls", "get_weather")
print("tool:", call.function.name, json.loads(call.function.arguments))
after = [
    *ASKED,
    called.choices[0].message,
    {"role": "tool", "tool_call_id": call.id, "content": "rain"},
]
assert client.chat.completions.create(
    model="nano", messages=after, tools=TOOLS, max_tokens=20
).choices
with client.chat.completions.stream(
    model="nano", messages=ASKED, tools=TOOLS, tool_choice="required", max_tokens=200, temperature=0
) as stream:
    assert (
        stream.get_final_completion().choices[0].message.tool_calls[0].function.name
        == "get_weather"
    )


class Sum(BaseModel):
    answer: int


parsed = client.chat.completions.parse(
    model="nano", messages=ASKED, response_format=Sum, temperature=0
)
assert parsed.choices[0].message.parsed == Sum(answer=88)
print("structured:", parsed.choices[0].message.parsed)

beta = openai.OpenAI(base_url=f"{BASE}/beta", api_key="none")
prefix = 'def area(width, height):\n    """Return the product of width and height."""\n'
gap = beta.completions.create(
    model="nano", prompt=prefix, suffix="\n    return result\n", max_tokens=32, temperature=0
)
assert gap.choices[0].text == "    result = width * height", gap.choices[0].text
print("fim:", gap.choices[0].text.strip())
prefilled = [*ASKED, {"role": "assistant", "content": "The answer", "prefix": True}]
assert (
    beta.chat.completions.create(model="nano", messages=prefilled, max_tokens=20, temperature=0)
    .choices[0]
    .message.content
)

for wrong, error in (
    ({"model": "other"}, openai.NotFoundError),
    ({"temperature": -3}, openai.UnprocessableEntityError),
    ({"messages": [{"role": "user", "content": "word " * 9000}]}, openai.BadRequestError),
):
    try:
        client.chat.completions.create(**{"model": "nano", "messages": ASKED, **wrong})
    except error as e:
        print("error:", e.status_code, e.body["message"][:80])
    else:
        raise AssertionError(wrong)
