"""The schemas of responses, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
MAYBE_TEXT: Json = {"type": ["string", "null"]}
INTEGER: Json = {"type": "integer"}
COUNT: Json = {"type": "integer", "minimum": 0}
BOOLEAN: Json = {"type": "boolean"}
OBJECT: Json = {"type": "object"}
FINISH_REASON: Json = {"enum": ["stop", "length", "tool_calls", "function_call"]}
LOGPROBS: Json = {"type": ["object", "null"]}
USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
)


def ref(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def response_schemas() -> Json:
    """Return the schemas of all responses, by name."""
    return {
        **_openai_schemas(),
        **_responses_schemas(),
        **_anthropic_schemas(),
        **_ollama_schemas(),
    }


def _openai_schemas() -> Json:
    head = {
        "id": TEXT,
        "object": TEXT,
        "created": INTEGER,
        "model": TEXT,
        "system_fingerprint": TEXT,
    }
    error = _object({"message": TEXT, "type": TEXT, "param": MAYBE_TEXT, "code": MAYBE_TEXT})
    model = _object({"id": TEXT, "object": TEXT, "created": INTEGER, "owned_by": TEXT})
    usage = ref("Usage")
    return {
        "Usage": _usage(),
        "ChatCompletion": _object({**head, "choices": _array(_chat_choice()), "usage": usage}),
        "Completion": _object({**head, "choices": _array(_completion_choice()), "usage": usage}),
        "Infill": OBJECT,
        "Model": model,
        "Models": _object({"object": TEXT, "data": _array(ref("Model"))}),
        "Error": _object({"error": error}),
    }


def _responses_schemas() -> Json:
    item = _object({"type": TEXT, "id": TEXT})
    fields = {
        "id": TEXT,
        "object": {"const": "response"},
        "created_at": INTEGER,
        "status": {"enum": ["completed", "incomplete"]},
        "model": TEXT,
        "output": _array(item),
        "usage": _object({"input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT}),
    }
    return {
        "Response": _object(fields),
        "DeletedResponse": _object({"id": TEXT, "object": TEXT, "deleted": BOOLEAN}),
        "InputTokens": _object({"object": TEXT, "input_tokens": COUNT}),
        "Items": _object({"object": TEXT, "data": _array(item), "has_more": BOOLEAN}),
    }


def _anthropic_schemas() -> Json:
    usage = _object(
        {
            "input_tokens": COUNT,
            "cache_creation_input_tokens": COUNT,
            "cache_read_input_tokens": COUNT,
            "output_tokens": COUNT,
        }
    )
    message = {
        "id": TEXT,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": TEXT,
        "content": _array(_object({"type": {"enum": ["thinking", "text", "tool_use"]}})),
        "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
        "stop_sequence": MAYBE_TEXT,
        "usage": usage,
    }
    model = _object({"type": TEXT, "id": TEXT, "display_name": TEXT, "created_at": TEXT})
    error = _object({"type": TEXT, "message": TEXT})
    return {
        "Message": _object(message),
        "TokenCount": _object({"input_tokens": COUNT}),
        "AnthropicModels": _object({"data": _array(model), "has_more": BOOLEAN}),
        "AnthropicError": _object({"type": {"const": "error"}, "error": error}),
    }


def _ollama_schemas() -> Json:
    head = {"model": TEXT, "created_at": TEXT, "done": BOOLEAN, "done_reason": TEXT}
    message = _object({"role": TEXT, "content": TEXT}, thinking=TEXT, tool_calls=_array(OBJECT))
    listed = _object(
        {"name": TEXT, "model": TEXT, "size": COUNT, "digest": TEXT, "details": OBJECT}
    )
    shown = {"details": OBJECT, "model_info": OBJECT, "capabilities": _array(TEXT)}
    return {
        "OllamaChat": _object({**head, "message": message}),
        "OllamaGenerate": _object({**head, "response": TEXT}, thinking=TEXT),
        "OllamaModel": _object(shown),
        "OllamaModels": _object({"models": _array(listed)}),
        "OllamaVersion": _object({"version": TEXT}),
        "OllamaError": _object({"error": TEXT}),
    }


def _object(required: Json, **more: Any) -> Json:
    return {"type": "object", "properties": {**required, **more}, "required": list(required)}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _usage() -> Json:
    fields: Json = dict.fromkeys(USAGE, COUNT)
    fields["prompt_tokens_details"] = _object({"cached_tokens": COUNT})
    fields["completion_tokens_details"] = _object({"reasoning_tokens": COUNT})
    return _object(fields)


def _chat_choice() -> Json:
    function = _object({"name": TEXT, "arguments": TEXT})
    call = _object({"index": INTEGER, "id": TEXT, "type": TEXT, "function": function})
    message = _object(
        {"role": TEXT, "content": MAYBE_TEXT},
        reasoning_content=MAYBE_TEXT,
        tool_calls=_array(call),
        function_call=function,
    )
    return _object(
        {"index": INTEGER, "message": message, "finish_reason": FINISH_REASON},
        logprobs=LOGPROBS,
        no_answer=TEXT,
        warning=TEXT,
    )


def _completion_choice() -> Json:
    return _object(
        {"index": INTEGER, "text": TEXT, "finish_reason": FINISH_REASON},
        logprobs=LOGPROBS,
        no_answer=TEXT,
        warning=TEXT,
    )
