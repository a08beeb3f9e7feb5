"""langchain-deepseek: reasoning and cache counters, streams, structured output, tools."""

import json
import sys

from langchain_deepseek import ChatDeepSeek
from pydantic import BaseModel, ConfigDict

BASE = sys.argv[1]
model = ChatDeepSeek(model="nano", api_base=f"{BASE}/v1", api_key="none", temperature=0)
QUESTION = "What is 31 + 57?"
first = model.invoke(QUESTION)
assert "88" in first.content
assert first.additional_kwargs["reasoning_content"]
again = model.invoke(QUESTION)
counted = again.response_metadata["token_usage"]
assert counted["prompt_cache_hit_tokens"] > 0, counted
assert again.usage_metadata["input_token_details"]["cache_read"] > 0
assert again.usage_metadata["output_token_details"]["reasoning"] > 0
print(
    "said:",
    first.content,
    "| thought:",
    first.additional_kwargs["reasoning_content"][:60],
    "|",
    again.usage_metadata,
)

chunks = list(model.stream(QUESTION))
assert "".join(chunk.content for chunk in chunks) == first.content
assert (
    "".join(chunk.additional_kwargs.get("reasoning_content", "") for chunk in chunks)
    == first.additional_kwargs["reasoning_content"]
)
print("stream:", len(chunks), "chunks")


class Sum(BaseModel):
    """The result of a sum."""

    model_config = ConfigDict(extra="forbid")
    answer: int


found = model.with_structured_output(Sum, method="function_calling").invoke(QUESTION)
assert isinstance(found, Sum)
print("structured:", found)
spelled = model.bind(response_format={"type": "json_object"}).invoke(
    f"{QUESTION} Answer as JSON with the field answer."
)
assert isinstance(json.loads(spelled.content), dict)
print("JSON:", spelled.content)
