"""ollama: chat, generate, streams, tools, JSON, models, errors."""

import json
import sys

import ollama

BASE = sys.argv[1]
client = ollama.Client(host=BASE)
COLD = {"temperature": 0}
ASKED = [{"role": "user", "content": "What is 31 + 57?"}]

assert [model.model for model in client.list().models] == ["nano:latest"]
assert "tools" in client.show("nano").capabilities
assert client.ps().models[0].context_length > 0
whole = client.chat("nano", ASKED, options=COLD)
assert "88" in whole.message.content
assert whole.message.thinking
assert whole.eval_count > 0
parts = list(client.chat("nano:latest", ASKED, options=COLD, stream=True))
assert "".join(part.message.content for part in parts) == whole.message.content
assert "".join(part.message.thinking or "" for part in parts) == whole.message.thinking
assert parts[-1].done_reason == "stop"
print("chat:", whole.message.content)

quick = client.chat("nano", ASKED, options=COLD, think=False)
assert not quick.message.thinking
made = client.generate("nano", "What is 31 + 57?", options=COLD, keep_alive="-1s")
assert "88" in made.response
gap = client.generate("nano", "def add(a, b):\n", suffix="\n\nprint(add(1, 2))\n", options=COLD)
assert gap.response.strip()
print("gap:", gap.response.strip())


def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: The city.
    """
    return f"22 degrees and sunny in {city}"


question = [{"role": "user", "content": "What is the weather in Lima?"}]
called = client.chat("nano", question, tools=[get_weather], options=COLD)
call = called.message.tool_calls[0]
assert call.function.name == "get_weather"
result = {"role": "tool", "tool_name": "get_weather", "content": get_weather("Lima")}
said = client.chat("nano", [*question, called.message, result], tools=[get_weather], options=COLD)
assert said.message.content
print("tool:", call.function.arguments, "|", said.message.content)

schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
spelled = client.chat("nano", ASKED, format=schema, options=COLD)
assert json.loads(spelled.message.content)["answer"] == 88
for wrong in (lambda: client.chat("llama3", ASKED), lambda: client.embed("nano", "a")):
    try:
        wrong()
        raise AssertionError("what is not here was answered")
    except ollama.ResponseError as e:
        print("refused:", e.status_code, e.error[:60])
