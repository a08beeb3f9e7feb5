"""JSON as it goes over the wire, alone or as a server-sent event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DONE = b"data: [DONE]\n\n"  # ends a stream
KEEP_ALIVE = b": keep-alive\n\n"  # a comment, which clients ignore


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as compact JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def sse_event(body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as one event of a stream."""
    return b"data: " + json_bytes(body) + b"\n\n"
