"""langchain: openai (chat and responses), anthropic and ollama; whole, streamed, with a tool."""

import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

BASE = sys.argv[1]
QUESTION = "What is 31 + 57?"
OPENAI = {"model": "nano", "base_url": f"{BASE}/v1", "api_key": "none", "temperature": 0}
MODELS = {
    "openai": ChatOpenAI(**OPENAI),
    "responses": ChatOpenAI(**OPENAI, use_responses_api=True),
    "anthropic": ChatAnthropic(model="nano", base_url=BASE, api_key="none", temperature=0),
    "ollama": ChatOllama(model="nano", base_url=BASE, temperature=0),
}


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"22 degrees and sunny in {city}"


for name, model in MODELS.items():
    whole = model.invoke(QUESTION)
    assert "88" in whole.text, whole
    assert whole.usage_metadata["output_tokens"] > 0
    streamed = None
    for chunk in model.stream(QUESTION):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.text == whole.text
    question = HumanMessage("What is the weather in Lima?")
    called = model.bind_tools([get_weather]).invoke([question])
    (call,) = called.tool_calls
    assert call["name"] == "get_weather", call
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    said = model.bind_tools([get_weather]).invoke([question, called, result])
    assert said.text
    print(f"{name}: {whole.text} | {call['args']} | {said.text}")
