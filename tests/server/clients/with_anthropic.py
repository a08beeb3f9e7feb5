"""anthropic: whole, streams, tools and their results, token counts, errors, models."""

import sys

import anthropic

BASE = sys.argv[1]
QUESTION = [{"role": "user", "content": "What is 31 + 57?"}]
TOOL = {
    "name": "get_weather",
    "description": "Get the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
for base in (BASE, f"{BASE}/anthropic"):
    client = anthropic.Anthropic(base_url=base, api_key="none")
    how = {"model": "nano", "max_tokens": 300, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**how, messages=QUESTION)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert "88" in whole.content[1].text
    assert whole.stop_reason == "end_turn"

    with client.messages.stream(**how, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[1].text
    assert final.content[0].thinking == whole.content[0].thinking
    assert final.content[0].signature == whole.content[0].signature
    assert final.usage.output_tokens == whole.usage.output_tokens
    print("stream:", text)

    ask = [{"role": "user", "content": "What is the weather in Lima?"}]
    choice = {"type": "tool", "name": "get_weather"}
    with client.messages.stream(**how, messages=ask, tools=[TOOL], tool_choice=choice) as stream:
        called = stream.get_final_message()
    call = called.content[-1]
    assert (call.type, call.name, called.stop_reason) == ("tool_use", "get_weather", "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees, sunny"}
    history = [
        *ask,
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    said = client.messages.create(**how, messages=history, tools=[TOOL])
    assert said.content
    print("tool:", call.input, "|", said.content[-1].text)

    counted = client.messages.count_tokens(model="nano", messages=QUESTION)
    assert counted.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert [model.id for model in client.models.list()] == ["nano"]
    assert client.models.retrieve("nano").display_name == "nano"
    try:
        client.messages.create(**{**how, "model": "claude-opus-4"}, messages=QUESTION)
        raise AssertionError("another model was answered")
    except anthropic.NotFoundError as e:
        print("refused:", e.body["error"]["type"])
print("anthropic: done")
