"""The reply to ``dslocal ask``, as events of a stream: the parts as they come, and the whole turn
at the end.

``{"reasoning": …}``, ``{"answer": …}``, ``{"reclassified": true}``, ``{"call": [index, name]}`` or
``{"arguments": [index, text]}``, with ``sure``, which says that what came as answer so far cannot
turn out to have been a thought; then ``{"turn": …}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dslocal import output
from dslocal.server.wire.responses import Reply, sse
from dslocal.server.wire.turn_json import turn_as_json

from .queue import Ended, Event


@dataclass
class AskReply(Reply):
    """Of one answer."""

    def chunks(self, events: Sequence[Event]) -> Iterator[bytes]:
        for event in events:
            if isinstance(event, Ended):
                yield sse({"turn": turn_as_json(event.turn)})
            else:
                yield sse({**_part(event.part), "sure": event.sure})


def _part(part: Any) -> dict[str, Any]:
    match part:
        case output.Reasoning(text):
            return {"reasoning": text}
        case output.Text(text):
            return {"answer": text}
        case output.ToolCallStarted(index, name):
            return {"call": [index, name]}
        case output.ToolCallArguments(index, text):
            return {"arguments": [index, text]}
    return {"reclassified": True}
