"""A chat request as a task."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal.server.exchange.tasks import ChatTask, SentSetting
from dslocal.server.wire.constraint_fields import only_constraint, sampling_constraints
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.sampling_settings import sent_settings, token_limit

from .messages import sent_messages
from .reasoning_fields import reasoning_wish
from .response_format import format_constraints
from .schemas import ChatRequest
from .tools import offered_tools, tool_choice


def read_chat(request: ChatRequest) -> ChatTask:
    """Return what a chat request asks for.

    Raises:
        ApiError: Fields that cannot be combined, or that no model here supports.
    """
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    constraints = [*format_constraints(request.response_format), *sampling_constraints(request)]
    return ChatTask(
        model=request.model,
        settings=tuple(_settings(request)),
        seed=request.seed,
        n=request.n or 1,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        constraint=only_constraint(constraints),
        messages=tuple(sent_messages(request.messages)),
        tools=offered_tools(request),
        tool_choice=tool_choice(request),
        reasoning=reasoning_wish(request),
    )


def _settings(request: ChatRequest) -> Iterator[SentSetting]:
    yield from sent_settings(request)
    limit = request.max_completion_tokens
    if limit is not None:
        yield SentSetting("max_tokens", token_limit(limit), "max_completion_tokens")
