"""The schema of ``/dslocal/ask``, by which ``dslocal ask`` has a running server answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dslocal.server.wire.base_schemas import RequestSchema, Seed
from dslocal.server.wire.logprobs import MAX_LOGPROBS


class AskConstraint(RequestSchema):
    """What the answer must look like: a JSON Schema or a GBNF grammar, one of the two."""

    source: str
    schema_text: str | None = None
    grammar_text: str | None = None


class AskRequest(RequestSchema):
    """A question of ``dslocal ask``, composed already.

    Attributes:
        fingerprint: The file that the settings are meant for.
        settings: Values by name.
        fresh: Whether nothing of the cache is used, so that the answer is what a process of its own
            would give.
    """

    fingerprint: str
    family: str
    text: str
    system: str = ""
    thinking: Literal["forced", "free", "bypassed", "none"]
    effort: str = ""
    settings: dict[str, Any]
    seed: Seed
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    form: AskConstraint | None = None
    fresh: bool = True
