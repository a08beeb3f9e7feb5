"""The OpenAPI document, made from the schemas that requests are validated against."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from dslocal import __version__

from .chat.schemas import ChatRequest
from .completions.schemas import CompletionRequest

REF = "#/components/schemas/"
REFUSALS = {
    "400": "A request that cannot be answered, such as a prompt that does not fit",
    "401": "No key, or a wrong one",
    "403": "A Host or an Origin that is not allowed",
    "404": "No such model or route",
    "408": "A body that did not come in time",
    "413": "A body that is too large",
    "422": "A field that is not valid",
    "429": "Too many requests wait",
    "500": "The server failed",
    "503": "The server is stopping, or has no memory left",
}
TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}
INTEGER = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
FINISH_REASON = {"enum": ["stop", "length", "tool_calls"]}
LOGPROBS = {"type": ["object", "null"]}
USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
)


@functools.cache
def openapi_document(bases: Sequence[str]) -> dict[str, Any]:
    """Return the document of all routes, under each of ``bases``. Callers must not change it."""
    requests = models_json_schema(
        [(ChatRequest, "validation"), (CompletionRequest, "validation")],
        ref_template=REF + "{model}",
    )[1]["$defs"]
    paths: dict[str, Any] = {
        "/health": {
            "get": _operation(
                "Whether the server answers, and how busy it is",
                {"200": _response({"type": "object"}), "503": _response({})},
            )
        },
        "/metrics": {
            "get": _operation(
                "Counters for Prometheus",
                {"200": {"description": "Prometheus's text format", "content": {"text/plain": {}}}},
            )
        },
        "/openapi.json": {
            "get": _operation("This document", {"200": _response({"type": "object"})})
        },
    }
    for base in bases:
        paths[f"{base}/models"] = {
            "get": _operation("The model that is served", {"200": _response(_ref("Models"))})
        }
        paths[f"{base}/chat/completions"] = {
            "post": _answering("Answer a conversation", "ChatRequest", "ChatCompletion")
        }
        paths[f"{base}/completions"] = {
            "post": _answering(
                "Continue a text, or fill the gap before a suffix",
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
            "schemas": {**requests, **_response_schemas()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _answering(summary: str, request: str, response: str) -> dict[str, Any]:
    """Return the operation that answers a request, whole or as a stream."""
    whole = {"description": "The answer; as server-sent events with stream", "content": {}}
    whole["content"] = {
        "application/json": {"schema": _ref(response)},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    body = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
    return {**_operation(summary, {"200": whole}), "requestBody": body}


def _operation(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    refused = {
        status: {"description": words, "content": {"application/json": {"schema": _ref("Error")}}}
        for status, words in REFUSALS.items()
    }
    return {"summary": summary, "responses": {**refused, **responses}}


def _response(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF + name}


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _response_schemas() -> dict[str, Any]:
    head = {
        "id": TEXT,
        "object": TEXT,
        "created": INTEGER,
        "model": TEXT,
        "system_fingerprint": TEXT,
    }
    error = _object({"message": TEXT, "type": TEXT, "param": MAYBE_TEXT, "code": MAYBE_TEXT})
    model = _object({"id": TEXT, "object": TEXT, "created": INTEGER, "owned_by": TEXT})
    usage = _ref("Usage")
    return {
        "Usage": _usage(),
        "ChatCompletion": _object({**head, "choices": _array(_chat_choice()), "usage": usage}),
        "Completion": _object({**head, "choices": _array(_completion_choice()), "usage": usage}),
        "Models": _object({"object": TEXT, "data": _array(model)}),
        "Error": _object({"error": error}),
    }


def _usage() -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(USAGE, COUNT)
    fields["prompt_tokens_details"] = _object({"cached_tokens": COUNT})
    fields["completion_tokens_details"] = _object({"reasoning_tokens": COUNT})
    return _object(fields)


def _chat_choice() -> dict[str, Any]:
    function = _object({"name": TEXT, "arguments": TEXT})
    call = _object({"index": INTEGER, "id": TEXT, "type": TEXT, "function": function})
    message = _object(
        {"role": TEXT, "content": MAYBE_TEXT},
        reasoning_content=MAYBE_TEXT,
        tool_calls=_array(call),
    )
    return _object(
        {"index": INTEGER, "message": message, "finish_reason": FINISH_REASON},
        logprobs=LOGPROBS,
        no_answer=TEXT,
        warning=TEXT,
    )


def _completion_choice() -> dict[str, Any]:
    return _object(
        {"index": INTEGER, "text": TEXT, "finish_reason": FINISH_REASON},
        logprobs=LOGPROBS,
        no_answer=TEXT,
        warning=TEXT,
    )
