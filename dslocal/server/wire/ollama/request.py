"""Ollama's requests as tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dslocal import output, prompts
from dslocal.server.exchange.tasks import (
    ChatTask,
    CompletionTask,
    ContextLimit,
    OfferedTool,
    ReasoningSwitch,
    ReasoningWish,
    SentCall,
    SentConstraint,
    SentMessage,
    SentSetting,
)
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.reasoning_level import reasoning_level
from dslocal.server.wire.sampling_settings import stop_texts, token_limit

from .schemas import (
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaMessage,
    OllamaOptions,
    OllamaRequest,
)

LATEST = ":latest"  # the tag of a name that has none
NUMBERS = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)


def plain_name(model: str) -> str:
    """Return the name of a model without the tag that Ollama's clients add to every name."""
    return model.removesuffix(LATEST)


def read_ollama_chat(request: OllamaChatRequest) -> ChatTask:
    """Return what a request of ``/api/chat`` asks for: without messages, to load the model.

    Raises:
        ApiError: Fields that cannot be combined.
    """
    tools = [
        prompts.Tool(
            each.function.name, each.function.description or "", each.function.parameters or {}
        )
        for each in request.tools or []
    ]
    return ChatTask(
        **_shared(request),
        messages=tuple(_messages(request.messages or [])),
        tools=tuple(map(OfferedTool, tools)),
        reasoning=_reasoning(request),
    )


def read_ollama_generate(request: OllamaGenerateRequest) -> ChatTask | CompletionTask:
    """Return what a request of ``/api/generate`` asks for: without a prompt, to load the model.

    Raises:
        ApiError: Fields that cannot be combined.
    """
    shared = _shared(request)
    if not request.prompt and not request.suffix:
        return ChatTask(**shared, messages=())
    if request.suffix is not None or request.raw:
        if request.system:
            raise ApiError(400, "system cannot be combined with raw or suffix", param="system")
        return CompletionTask(**shared, prompts=[request.prompt], suffix=request.suffix)
    messages = [SentMessage("user", request.prompt)]
    if request.system:
        messages.insert(0, SentMessage("system", request.system))
    return ChatTask(**shared, messages=messages, reasoning=_reasoning(request))


def _shared(request: OllamaRequest) -> dict[str, Any]:
    """Return the fields that all tasks have."""
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    return {
        "model": plain_name(request.model),
        "settings": tuple(_settings(request.options)),
        "seed": request.options.seed if request.options else None,
        "top_logprobs": (request.top_logprobs or 0) if request.logprobs else None,
        "constraint": _constraint(request),
        "keep_s": request.keep_alive,
        "context_limit": _context_limit(request.options),
    }


def _context_limit(options: OllamaOptions | None) -> ContextLimit | None:
    """Return ``num_ctx``; 0 and less mean unset."""
    tokens = options.num_ctx if options else None
    return ContextLimit(tokens, "options.num_ctx") if tokens and tokens > 0 else None


def _settings(options: OllamaOptions | None) -> Iterator[SentSetting]:
    if options is None:
        return
    if options.num_predict is not None:
        limit = token_limit(options.num_predict)
        yield SentSetting("max_tokens", limit, "options.num_predict")
    if options.stop is not None:
        yield SentSetting("stop", stop_texts(options.stop), "options.stop")
    for name in NUMBERS:
        value = getattr(options, name)
        if value is not None:
            yield SentSetting(name, value, f"options.{name}")


def _constraint(request: OllamaRequest) -> SentConstraint | None:
    if not request.format and request.format != {}:
        return None
    schema = output.ANY_OBJECT if request.format == "json" else request.format
    return SentConstraint("format", "schema", schema)


def _reasoning(request: OllamaRequest) -> ReasoningWish:
    if isinstance(request.think, bool):
        return ReasoningWish((ReasoningSwitch("think", request.think),))
    return ReasoningWish(tuple(reasoning_level("think", request.think or None)))


def _messages(sent: list[OllamaMessage]) -> Iterator[SentMessage]:
    """Yield the messages. The results of tools name their call, or their tool, or neither."""
    for message in sent:
        calls = [
            SentCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or []
        ]
        yield SentMessage(
            role=message.role,
            text=message.content,
            reasoning=message.thinking or "",
            calls=tuple(calls),
            call_id=message.tool_call_id or "",
            tool_name=message.tool_name or "",
        )
