"""Proves that what clients sent, as ``transcripts`` has it, is answered by the server itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.server.serving import Serving
from support.server.transcripts import FORMATS, requests_of

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "anthropic": "/v1/messages",
    "responses": "/v1/responses",
    "ollama_chat": "/api/chat",
    "ollama_generate": "/api/generate",
}
LIMITS = {"responses": "max_output_tokens", "ollama_chat": "", "ollama_generate": ""}
REQUESTS = [(name, path) for name in FORMATS for path in requests_of(name)]


@pytest.mark.parametrize(
    ("name", "path"), REQUESTS, ids=[f"{name}-{path.stem}" for name, path in REQUESTS]
)
@pytest.mark.parametrize("stream", [False, True])
def test_it_is_answered(served: Serving, name: str, path: Path, stream: bool) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))
    body["stream"] = stream
    limit = LIMITS.get(name, "max_tokens")
    if limit:
        body.pop("n_predict", None)
        body[limit] = 8
    else:
        body["options"] = {**body.get("options", {}), "num_predict": 8}
    if not stream:
        body.pop("stream_options", None)
    response = served.post(PATHS[name], body)
    assert response.status_code == 200, response.text
    assert (response.headers["content-type"] == "application/json") is not stream
