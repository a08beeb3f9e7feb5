"""Choose the error object for a client by the path of its request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .anthropic.anthropic_errors import anthropic_error
from .errors import ApiError
from .ollama.ollama_response import ollama_error


def openai_error(error: ApiError) -> dict[str, Any]:
    """Return the error object as OpenAI's clients read it."""
    return error.body


# The first beginning that fits holds. LM Studio's clients read OpenAI's errors.
FORMATS: dict[str, Callable[[ApiError], dict[str, Any]]] = {
    "/api/v0": openai_error,
    "/api/v1": openai_error,
    "/v1/messages": anthropic_error,
    "/anthropic": anthropic_error,
    "/api": ollama_error,
}


def error_body(error: ApiError, path: str) -> dict[str, Any]:
    """Return the error object in the format of ``path``; OpenAI's where no other is known."""
    for beginning, body in FORMATS.items():
        if f"{path}/".startswith(f"{beginning}/"):
            return body(error)
    return openai_error(error)
