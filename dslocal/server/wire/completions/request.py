"""A completion request as a task."""

from __future__ import annotations

from dslocal.server.exchange.tasks import CompletionTask
from dslocal.server.wire.constraint_fields import only_constraint, sampling_constraints
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.sampling_settings import completion_settings

from .schemas import CompletionRequest


def read_completion(request: CompletionRequest) -> CompletionTask:
    """Return what a completion request asks for.

    Raises:
        ApiError: 400 or 422 for fields that cannot be combined.
    """
    if request.best_of not in (None, request.n or 1):
        raise ApiError(400, "best_of: request n answers and choose one", param="best_of")
    if request.max_tokens == 0 and not request.echo:
        raise ApiError(422, "max_tokens: 0 needs echo", param="max_tokens")
    if request.echo and request.logprobs is not None and request.stream:
        raise ApiError(400, "logprobs of an echoed prompt cannot be streamed", param="stream")
    return CompletionTask(
        model=request.model,
        settings=completion_settings(request),
        seed=request.seed,
        n=request.n or 1,
        top_logprobs=request.logprobs,
        constraint=only_constraint(list(sampling_constraints(request))),
        prompts=request.prompts,
        suffix=request.suffix,
        has_echo=bool(request.echo),
        has_answer=request.max_tokens != 0,
    )
