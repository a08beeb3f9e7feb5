"""Server-sent events that have a name, as Anthropic and OpenAI's Responses send them."""

from __future__ import annotations

import json
from typing import Any


def named_events(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, each of which must be named by its ``type``."""
    found = []
    for part in text.split("\n\n"):
        if not part or part.startswith(":"):
            continue
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found
