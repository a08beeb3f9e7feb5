"""The schema of ``/infill``, llama-server's own route."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dslocal.server.wire.base_schemas import RequestSchema, SamplingFields

MAX_EXTRAS = 256  # pieces of other files around a gap


class InfillExtra(RequestSchema):
    """A piece of another file."""

    text: str
    filename: str | None = None
    time: float | list[int] | None = None


class InfillRequest(SamplingFields):
    """A gap to fill, as llama.vim sends it. ``prompt`` is the beginning of what fills it.

    ``n_indent`` is the indentation of the line, which the prompt shows already.
    """

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[InfillExtra], Field(max_length=MAX_EXTRAS, default_factory=list)]
    prompt: str = ""
    n_indent: int | None = None
    response_fields: Annotated[list[str], Field(default_factory=list)]
