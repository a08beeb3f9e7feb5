"""What the page sends: request schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from dslocal.server.wire.base_schemas import RequestSchema

MAX_FILES = 20
MAX_FILE_NAME = 255  # characters
MAX_SETTINGS = 32

Action = Literal["ask", "edit", "retry", "continue"]


class PageSchema(RequestSchema):
    """The base of the page's requests. The page and the server are of one version."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class AttachedFile(PageSchema):
    """A text file that goes with a question."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_FILE_NAME)]
    text: str


class AnswerRequest(PageSchema):
    """A turn of a conversation.

    Attributes:
        action: ``ask`` adds a question, ``edit`` replaces the one at ``message`` and what follows
            it, ``retry`` asks the last one again, ``continue`` continues an answer that was cut.
        text: The question as it was typed.
        message: Where in the history the question is that is replaced.
        files: Files that go with the question.
        model: The model that answers; None for the conversation's, or the first.
        system: Instructions for the whole conversation; None leaves them as they are.
        thinking: Whether the model reasons; None leaves that as it is.
        effort: How thoroughly it reasons; None leaves that as it is.
        settings: Sampling settings by name, above those of the server.
        in_copy: Whether a conversation that is open elsewhere is continued in a copy.
    """

    action: Action = "ask"
    text: str = ""
    message: Annotated[int, Field(ge=0)] | None = None
    files: Annotated[list[AttachedFile], Field(max_length=MAX_FILES)] | None = None
    model: str | None = None
    system: str | None = None
    thinking: bool | None = None
    effort: str | None = None
    settings: Annotated[dict[str, Any], Field(max_length=MAX_SETTINGS)] | None = None
    in_copy: bool = False
