"""API errors as Anthropic's clients read them."""

from __future__ import annotations

from typing import Any

from dslocal.server.wire.errors import ApiError

# Source: https://docs.anthropic.com/en/api/errors
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    501: "not_found_error",
    503: "overloaded_error",
}
# Claude Code compacts a conversation when it reads this, and only then.
TOO_LONG = "prompt is too long"


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """Return the error object."""
    message = error.message
    if error.code == "context_length_exceeded":
        message = f"{TOO_LONG}: {message}"
    kind = ERROR_TYPES.get(error.status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}
