"""A request of ``/infill`` as a task."""

from __future__ import annotations

from dslocal.server.exchange.tasks import InfillTask
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.sampling_settings import completion_settings

from .schemas import InfillRequest


def read_infill(request: InfillRequest) -> InfillTask:
    """Return what a request of ``/infill`` asks for.

    Raises:
        ApiError: 400 for a stream, which the format has not.
    """
    if request.stream:
        raise ApiError(400, "/infill cannot stream", param="stream")
    return InfillTask(
        model=request.model,
        settings=completion_settings(request),
        seed=request.seed,
        prefix=request.input_prefix,
        suffix=request.input_suffix,
        snippets=tuple(extra.text for extra in request.input_extra),
        beginning=request.prompt,
        has_answer=request.max_tokens != 0,
    )
