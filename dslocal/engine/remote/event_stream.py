"""Read server-sent events from a response, within limits that a hostile engine cannot exceed.

An event is taken once its line has ended. So a connection that is cut in the middle of a line, or
of a character, loses that line and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .address import EngineAddress
from .failures import event_error, nonsense_error, stalled_error

MAX_LINE = 16 << 20  # bytes; SGLang repeats the whole answer in each event
MAX_LINE_S = 60.0  # from a line's first byte to its last
MAX_IDLE = 64 << 20  # bytes without an event
MAX_IDLE_S = 1800.0  # with bytes, but without an event: while a long prompt is read
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
        line_began = event_ended = time.monotonic()
        for chunk in self._chunks:
            if not pending:
                line_began = time.monotonic()
            searched = len(pending)
            pending += chunk
            idle += len(chunk)
            while (end := pending.find(b"\n", searched)) >= 0:
                line = bytes(pending[:end]).rstrip(b"\r")
                del pending[: end + 1]
                searched = 0
                yield line
                line_began = time.monotonic()  # what the reader did meanwhile does not count
                if line.startswith(DATA):
                    idle = 0
                    event_ended = line_began
            self._check_limits(len(pending), line_began, idle, event_ended)

    def _check_limits(self, pending: int, line_began: float, idle: int, event_ended: float) -> None:
        """Refuse a line or a wait for an event that is too long. Raises RemoteEngineError."""
        now = time.monotonic()
        if pending > MAX_LINE:
            raise nonsense_error(self._address, f"sends a line of more than {MAX_LINE:,} bytes")
        if idle > MAX_IDLE:
            raise nonsense_error(self._address, f"sends {MAX_IDLE:,} bytes without an event")
        if pending and now - line_began > MAX_LINE_S:
            raise stalled_error(self._address, MAX_LINE_S)
        if now - event_ended > MAX_IDLE_S:
            raise stalled_error(self._address, MAX_IDLE_S)

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
