"""litellm: as OpenAI's, DeepSeek's, Anthropic's and Ollama's API, and as Responses."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks GitHub for prices

import litellm

BASE = sys.argv[1]
ASKED = [{"role": "user", "content": "What is 31 + 57?"}]
ADDRESSES = {
    "openai": f"{BASE}/v1",
    "deepseek": f"{BASE}/v1",
    "anthropic": BASE,
    "ollama_chat": BASE,
}
for provider, address in ADDRESSES.items():
    how = {
        "model": f"{provider}/nano",
        "api_base": address,
        "api_key": "none",
        "messages": ASKED,
        "temperature": 0,
    }
    whole = litellm.completion(**how)
    assert "88" in whole.choices[0].message.content
    assert whole.choices[0].message.reasoning_content
    chunks = list(litellm.completion(**how, stream=True))
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        == whole.choices[0].message.content
    )
    print(
        f"{provider}: {whole.choices[0].message.content} {whole.usage.total_tokens} tokens,"
        f" {len(chunks)} chunks"
    )

response = litellm.responses(
    model="openai/nano", api_base=f"{BASE}/v1", api_key="none", input="What is 31 + 57?"
)
assert "88" in "".join(
    part.text for item in response.output if item.type == "message" for part in item.content
)
print("responses: done")
