"""The response to ``dslocal ask``: the parts of the answer as they come, then the whole turn.

Each event of the stream is one of ``{"reasoning": text}``, ``{"answer": text}``,
``{"reclassified": true}`` (what came as answer was reasoning), ``{"call": [index, name]}`` and
``{"arguments": [index, text]}``, with ``sure``, which says whether what came as answer so far can
no longer turn out to be reasoning. The last event is ``{"turn": …}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, RunEvent
from dslocal.server.wire.encoding import sse_event
from dslocal.server.wire.stream_format import EventStreamFormat

from .turn_json import turn_as_json

if TYPE_CHECKING:
    from dslocal.output.reasoning import AnswerEvent


class AskResponse(EventStreamFormat):
    """The stream for one answer."""

    def chunks(self, events: Sequence[RunEvent]) -> Iterator[bytes]:
        """Yield what is sent for ``events``."""
        for event in events:
            if isinstance(event, AnswerEnd):
                yield sse_event({"turn": turn_as_json(event.turn)})
            else:
                yield sse_event({**_part_json(event.part), "sure": event.sure})


def _part_json(part: AnswerEvent) -> dict[str, Any]:
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
