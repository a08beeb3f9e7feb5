"""What goes wrong with a request, as OpenAI's error object and a status of HTTP."""

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

KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class ApiError(Exception):
    """``param`` is the field that is to blame, ``code`` a word for programs."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def body(self) -> dict[str, Any]:
        kind = KINDS.get(self.status, "invalid_request_error")
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        }


def fault_of(error: BaseException) -> ApiError:
    """The fault that ``error`` is for a client: what it can mend is its own, all else the server's,
    without the server's innards.
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
    return ApiError(500, "something went wrong in the server; its log says what")
