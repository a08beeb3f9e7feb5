"""The OpenAPI document, made from the schemas that requests are validated against."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from dslocal import __version__
from dslocal.server.wire.anthropic.schemas import CountTokensRequest, MessagesRequest
from dslocal.server.wire.base_schemas import RequestSchema
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.completions.schemas import CompletionRequest
from dslocal.server.wire.infill.schemas import InfillRequest
from dslocal.server.wire.ollama.schemas import (
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaShowRequest,
)
from dslocal.server.wire.responses.schemas import RESPONSE_ID, ResponsesRequest

from .response_schemas import TEXT, ref, response_schemas

Json = dict[str, Any]
REQUESTS: tuple[type[RequestSchema], ...] = (
    ChatRequest,
    CompletionRequest,
    InfillRequest,
    MessagesRequest,
    CountTokensRequest,
    ResponsesRequest,
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaShowRequest,
)
REFUSALS = {
    "400": "A request that cannot be answered, such as a prompt that does not fit",
    "401": "No key, or a wrong one",
    "403": "A Host or an Origin that is not allowed",
    "404": "No such model, response or route",
    "405": "A method that the route does not have",
    "408": "A body that did not arrive in time",
    "413": "A body that is too large",
    "422": "A field that is not valid",
    "429": "Too many requests wait",
    "500": "The server failed",
    "503": "The server is stopping, or has no memory left",
}
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
ANTHROPIC_BASES = ("/v1", "/anthropic/v1")
RESPONSES_BASES = ("", "/v1")


@functools.cache
def openapi_document(bases: Sequence[str]) -> Json:
    """Return the document of all routes, OpenAI's under each of ``bases``. Do not change it."""
    requests = models_json_schema(
        [(schema, "validation") for schema in REQUESTS], ref_template="#/components/schemas/{model}"
    )[1]["$defs"]
    paths = {
        **_own_paths(),
        **_openai_paths(bases),
        **_responses_paths(),
        **_anthropic_paths(),
        **_ollama_paths(),
    }
    keys = {
        "key": {"type": "http", "scheme": "bearer"},
        "anthropic_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dslocal",
            "version": __version__,
            "description": "DeepSeek models on this machine, in the formats of OpenAI, DeepSeek, "
            "Anthropic and Ollama",
        },
        "paths": paths,
        "components": {
            "schemas": {**requests, **response_schemas()},
            "securitySchemes": keys,
        },
        "security": [{}, *({name: []} for name in keys)],
    }


def _own_paths() -> Json:
    health = {"200": _response({"type": "object"}), "503": _response({})}
    counters = {"description": "Prometheus's text format", "content": {"text/plain": {}}}
    return {
        "/health": {"get": _operation("Whether the server answers, and how busy it is", health)},
        "/metrics": {"get": _operation("Counters for Prometheus", {"200": counters})},
        "/openapi.json": {
            "get": _operation("This document", {"200": _response({"type": "object"})})
        },
    }


def _openai_paths(bases: Sequence[str]) -> Json:
    paths: Json = {
        "/infill": {"post": _answering("Fill a gap", "InfillRequest", "Infill", stream="")}
    }
    for base in bases:
        paths[f"{base}/models"] = {
            "get": _operation("The models that are served", {"200": _response(ref("Models"))})
        }
        paths[f"{base}/models/{{name}}"] = _with_name(
            "name", get=_operation("One of the models", {"200": _response(ref("Model"))})
        )
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
    return paths


def _responses_paths() -> Json:
    paths: Json = {}
    for base in RESPONSES_BASES:
        root = f"{base}/responses"
        paths[root] = {"post": _answering("Answer items", "ResponsesRequest", "Response")}
        paths[f"{root}/input_tokens"] = {
            "post": _answering("Count tokens", "ResponsesRequest", "InputTokens", stream="")
        }
        paths[f"{root}/{{id}}"] = _with_name(
            "id",
            get=_operation("A response that is kept", {"200": _response(ref("Response"))}),
            delete=_operation("Drop a response", {"200": _response(ref("DeletedResponse"))}),
        )
        listed = _operation("What a response answers", {"200": _response(ref("Items"))})
        paths[f"{root}/{{id}}/input_items"] = _with_name(
            "id",
            get={
                **listed,
                "parameters": [
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
                    _query("order", {"enum": ["asc", "desc"]}),
                    _query("after", TEXT),
                ],
            },
        )
    return paths


def _anthropic_paths() -> Json:
    paths: Json = {
        "/anthropic/v1/models": {
            "get": _operation(
                "The models that are served", {"200": _response(ref("AnthropicModels"))}
            )
        }
    }
    for base in ANTHROPIC_BASES:
        paths[f"{base}/messages"] = {
            "post": _answering("Answer a conversation", "MessagesRequest", "Message")
        }
        paths[f"{base}/messages/count_tokens"] = {
            "post": _answering("Count tokens", "CountTokensRequest", "TokenCount", stream="")
        }
    for path in paths.values():
        for operation in path.values():
            _set_error(operation, "AnthropicError")
    return paths


def _ollama_paths() -> Json:
    answers = {
        "/api/chat": ("Answer a conversation", "OllamaChatRequest", "OllamaChat"),
        "/api/generate": ("Answer a question", "OllamaGenerateRequest", "OllamaGenerate"),
    }
    paths: Json = {
        path: {"post": _answering(summary, request, response, stream=NDJSON)}
        for path, (summary, request, response) in answers.items()
    }
    paths["/api/show"] = {
        "post": _answering("Describe a model", "OllamaShowRequest", "OllamaModel", stream="")
    }
    for path, summary, schema in (
        ("/api/tags", "The models that are served", "OllamaModels"),
        ("/api/ps", "The models that are loaded", "OllamaModels"),
        ("/api/version", "The version of Ollama's API", "OllamaVersion"),
    ):
        paths[path] = {"get": _operation(summary, {"200": _response(ref(schema))})}
    for methods in paths.values():
        for operation in methods.values():
            _set_error(operation, "OllamaError")
    return paths


def _answering(summary: str, request: str, response: str, *, stream: str = SSE) -> Json:
    """Return the operation that answers a request, whole or as a stream of that media type."""
    content: Json = {"application/json": {"schema": ref(response)}}
    if stream:
        content[stream] = {"schema": TEXT}
    words = "The answer, complete or as a stream" if stream else "The answer"
    body = {"required": True, "content": {"application/json": {"schema": ref(request)}}}
    whole = {"description": words, "content": content}
    return {**_operation(summary, {"200": whole}), "requestBody": body}


def _operation(summary: str, responses: Json) -> Json:
    refused = {
        status: {"description": words, "content": {"application/json": {"schema": ref("Error")}}}
        for status, words in REFUSALS.items()
    }
    return {"summary": summary, "responses": {**refused, **responses}}


def _set_error(operation: Json, schema: str) -> None:
    """Have an operation answer errors in the format of ``schema``."""
    for status, response in operation["responses"].items():
        if status in REFUSALS:
            response["content"] = {"application/json": {"schema": ref(schema)}}


def _with_name(parameter: str, **operations: Json) -> Json:
    """Return operations on what a path names."""
    schema = {"type": "string", "pattern": RESPONSE_ID} if parameter == "id" else TEXT
    named = {"name": parameter, "in": "path", "required": True, "schema": schema}
    return {"parameters": [named], **operations}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _response(schema: Json) -> Json:
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}
