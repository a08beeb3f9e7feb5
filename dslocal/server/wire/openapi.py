"""The OpenAPI document, made from what requests are checked against."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from dslocal import __version__

from .schemas import ChatRequest, CompletionRequest

REF = "#/components/schemas/"
REFUSALS = {
    "400": "A request that cannot be answered, as a prompt that does not fit",
    "401": "No key, or a wrong one",
    "403": "A Host or an Origin that is not allowed",
    "404": "No such model or route",
    "408": "A body that did not come in time",
    "413": "A body that is too large",
    "422": "A field that cannot be meant",
    "429": "Too many requests wait",
    "500": "The server failed",
    "503": "The server is stopping, or has no memory left",
}
COUNT = {"type": "integer", "minimum": 0}
USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
)


@functools.cache
def document(bases: Sequence[str]) -> dict[str, Any]:
    """The document of all routes under each of ``bases``. Do not change what is returned."""
    requests = models_json_schema(
        [(ChatRequest, "validation"), (CompletionRequest, "validation")],
        ref_template=REF + "{model}",
    )[1]["$defs"]
    paths: dict[str, Any] = {
        "/health": {
            "get": _operation(
                "Whether the server answers, and how busy it is",
                {"200": _answer({"type": "object"}), "503": _answer({})},
            )
        },
        "/metrics": {
            "get": _operation(
                "Counters for Prometheus",
                {"200": {"description": "Prometheus's text format", "content": {"text/plain": {}}}},
            )
        },
        "/openapi.json": {"get": _operation("This document", {"200": _answer({"type": "object"})})},
    }
    for base in bases:
        paths[f"{base}/models"] = {
            "get": _operation("The model that is served", {"200": _answer(_ref("Models"))})
        }
        paths[f"{base}/chat/completions"] = {
            "post": _asking("Answer a conversation", "ChatRequest", "ChatCompletion")
        }
        paths[f"{base}/completions"] = {
            "post": _asking(
                "Go on with a text, or fill the gap before a suffix",
                "CompletionRequest",
                "Completion",
            )
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dslocal",
            "version": __version__,
            "description": "DeepSeek models on this machine, in OpenAI's and DeepSeek's formats",
        },
        "paths": paths,
        "components": {
            "schemas": {**requests, **_replies()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _asking(summary: str, request: str, reply: str) -> dict[str, Any]:
    whole = {"description": "The answer; as server-sent events with stream", "content": {}}
    whole["content"] = {
        "application/json": {"schema": _ref(reply)},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    body = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
    return {**_operation(summary, {"200": whole}), "requestBody": body}


def _operation(summary: str, answers: dict[str, Any]) -> dict[str, Any]:
    refused = {
        status: {"description": words, "content": {"application/json": {"schema": _ref("Error")}}}
        for status, words in REFUSALS.items()
    }
    return {"summary": summary, "responses": {**refused, **answers}}


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF + name}


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _replies() -> dict[str, Any]:
    text, integer = {"type": "string"}, {"type": "integer"}
    maybe_text = {"type": ["string", "null"]}
    usage = _object(
        {
            **dict.fromkeys(USAGE, COUNT),
            "prompt_tokens_details": _object({"cached_tokens": COUNT}),
            "completion_tokens_details": _object({"reasoning_tokens": COUNT}),
        }
    )
    head = {
        "id": text,
        "object": text,
        "created": integer,
        "model": text,
        "system_fingerprint": text,
    }
    called = _object(
        {
            "index": integer,
            "id": text,
            "type": text,
            "function": _object({"name": text, "arguments": text}),
        }
    )
    message = _object(
        {"role": text, "content": maybe_text},
        reasoning_content=maybe_text,
        tool_calls={"type": "array", "items": called},
    )
    finish = {"enum": ["stop", "length", "tool_calls"]}
    choice = _object(
        {"index": integer, "message": message, "finish_reason": finish},
        logprobs={"type": ["object", "null"]},
    )
    piece = _object(
        {"index": integer, "text": text, "finish_reason": finish},
        logprobs={"type": ["object", "null"]},
    )
    error = _object({"message": text, "type": text, "param": maybe_text, "code": maybe_text})
    model = _object({"id": text, "object": text, "created": integer, "owned_by": text})
    return {
        "Usage": usage,
        "ChatCompletion": _object(
            {**head, "choices": {"type": "array", "items": choice}, "usage": _ref("Usage")}
        ),
        "Completion": _object(
            {**head, "choices": {"type": "array", "items": piece}, "usage": _ref("Usage")}
        ),
        "Models": _object({"object": text, "data": {"type": "array", "items": model}}),
        "Error": _object({"error": error}),
    }
