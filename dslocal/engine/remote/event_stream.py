"""Read server-sent events from a response, within limits that a hostile engine cannot exceed.

An event is taken once its line has ended. So a connection that is cut in the middle of a line, or
of a character, loses that line and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .address import EngineAddress
from .failures import event_error, nonsense_error

MAX_LINE = 16 << 20  # bytes; SGLang repeats the whole answer in each event
MAX_IDLE = 64 << 20  # bytes without an event
DATA = b"data:"
DONE = b"[DONE]"


class EventReader:
    """Reads the events of one response.

    Attributes:
        is_complete: Whether the stream said that it has ended.
    """

    def __init__(self, address: EngineAddress, chunks: Iterable[bytes]) -> None:
        """Read from ``chunks``, which an engine at ``address`` sends."""
        self.is_complete = False
        self._address = address
        self._chunks = chunks

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each event's JSON object.

        Raises:
            RemoteEngineError: It is not JSON, not an object, reports an error, or is too long.
        """
        for line in self._lines():
            if not line.startswith(DATA):
                continue  # a comment that keeps the connection open, or an event's name
            data = line[len(DATA) :].strip()
            if data == DONE:
                self.is_complete = True
                return
            yield self._object(data)

    def _lines(self) -> Iterator[bytes]:
        pending = bytearray()
        idle = 0
        for chunk in self._chunks:
            searched = len(pending)
            pending += chunk
            idle += len(chunk)
            while (end := pending.find(b"\n", searched)) >= 0:
                line = bytes(pending[:end]).rstrip(b"\r")
                del pending[: end + 1]
                searched = 0
                if line.startswith(DATA):
                    idle = 0
                yield line
            if len(pending) > MAX_LINE:
                raise nonsense_error(self._address, f"sends a line of more than {MAX_LINE:,} bytes")
            if idle > MAX_IDLE:
                raise nonsense_error(self._address, f"sends {MAX_IDLE:,} bytes without an event")

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise nonsense_error(self._address, "sends an event that is not JSON") from None
        error = event_error(self._address, event)
        if error:
            raise error
        if not isinstance(event, dict):
            raise nonsense_error(self._address, "sends an event that is not a JSON object")
        return event
