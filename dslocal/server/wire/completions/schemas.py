"""The schema of ``/v1/completions``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dslocal.server.wire.base_schemas import MAX_CHOICES, SamplingFields
from dslocal.server.wire.logprobs import MAX_LOGPROBS

MAX_PROMPTS = 128  # of one request
TokenIds = Annotated[list[int], Field(min_length=1)]


class CompletionRequest(SamplingFields):
    """Texts to continue; with ``suffix``, even an empty one, a gap to fill."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    suffix: str | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, each a text or token ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)
