"""API errors: OpenAI's error object and an HTTP status."""

from __future__ import annotations

from typing import Any

from dslocal.errors import (
    ContextOverflowError,
    DslocalError,
    OutOfMemoryError,
    SchemaError,
    UnsupportedModelError,
    UsageError,
)

ERROR_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    501: "not_implemented_error",
    503: "server_error",
}


class ApiError(Exception):
    """An error that a client is sent.

    Attributes:
        status: The HTTP status.
        message: What went wrong, for people.
        code: A word for programs.
        param: The field of the request that is to blame.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        """Return the error object."""
        error = {
            "message": self.message,
            "type": ERROR_TYPES.get(self.status, "invalid_request_error"),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


def to_api_error(error: BaseException) -> ApiError:
    """Return the API error that a client is sent for ``error``.

    What the client can mend is a 400. All else is the server's failure, whose message shows no
    internals.
    """
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            return ApiError(400, str(error), code="context_length_exceeded", param="messages")
        case UsageError() | UnsupportedModelError() | SchemaError():
            return ApiError(400, f"{error} ({error.hint})" if error.hint else str(error))
        case KeyboardInterrupt():
            return ApiError(503, "the server is stopping", code="stopping")
        case OutOfMemoryError():
            return ApiError(503, str(error), code="out_of_memory")
        case DslocalError():
            return ApiError(500, str(error))
    return ApiError(500, "the server failed; its log has the details")
