"""Requests as clients send them, and what a test looks at in the response."""

from __future__ import annotations

from typing import Any

from .serving import Serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def asked(content: Any = "What is 2 + 2?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 12, "seed": 1, **more}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


NUMBER = {"type": "integer", "minimum": 0, "maximum": 99}
TOOLS = [tool("add", x=NUMBER), tool("add_two", y=NUMBER), tool("sub", z=NUMBER)]


def choices(served: Serving, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["choices"]
    return found


def message(served: Serving, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = choices(served, CHAT, body)[0]["message"]
    return found


def prompt_tokens(served: Serving, path: str, body: dict[str, Any]) -> int:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    return int(response.json()["usage"]["prompt_tokens"])
