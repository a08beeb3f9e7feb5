"""What a format must define for the server: how events become the bytes of a stream, or a whole
body."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from dslocal.server.exchange.events import RunEvent

from .encoding import DONE, KEEP_ALIVE, sse_event
from .errors import ApiError

SSE = b"text/event-stream; charset=utf-8"


class StreamFormat(Protocol):
    """Turn events into the bytes of a stream.

    Attributes:
        media_type: The stream's Content-Type.
        keep_alive: What is sent after a silence, to say that the connection lives; may be empty.
    """

    media_type: bytes
    keep_alive: bytes

    def chunks(self, events: Sequence[RunEvent]) -> Iterable[bytes]:
        """Return what is sent for ``events``."""

    def end(self) -> bytes:
        """Return what is sent after the last event."""

    def error(self, error: ApiError) -> bytes:
        """Return what ends a stream that fails after its start."""


class WholeFormat(Protocol):
    """Collect events into one JSON object."""

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events``."""

    def body(self) -> dict[str, Any]:
        """Return the response, once all events are collected."""


class EventStreamFormat(ABC):
    """A stream of server-sent events as OpenAI has it: comments in a silence, [DONE] at the end."""

    media_type = SSE
    keep_alive = KEEP_ALIVE

    @abstractmethod
    def chunks(self, events: Sequence[RunEvent]) -> Iterable[bytes]:
        """Return what is sent for ``events``."""

    def end(self) -> bytes:
        """Return what is sent after the last event."""
        return DONE

    def error(self, error: ApiError) -> bytes:
        """Return the error as the stream's last event."""
        return sse_event(error.body)
