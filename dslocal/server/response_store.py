"""Responses that are kept in memory, so that later requests can name them.

The oldest ones are dropped when there are too many, or when they take too much memory. One that is
used, or that a used one follows, counts as new.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from .wire.errors import ApiError

Json = dict[str, Any]
MAX_RESPONSES = 1000
MAX_BYTES = 64 << 20
MAX_SHOWN_ID = 100


@dataclass(frozen=True)
class StoredResponse:
    """A response that is kept.

    Attributes:
        response: The response.
        items: What it answers, without the items of earlier responses.
        previous: The id of the response before it; empty where there is none.
        size: Its bytes as JSON.
    """

    response: Json
    items: Sequence[Json]
    previous: str
    size: int


class ResponseStore:
    """The responses that are kept. For any thread."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        """Keep so many responses, of so many bytes together, at most."""
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._stored: OrderedDict[str, StoredResponse] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def add(self, response: Json, items: Sequence[Json], previous: str) -> None:
        """Keep ``response``, which answers ``items`` after the response ``previous``."""
        # a client can send half a surrogate pair, which UTF-8 does not have
        written = json.dumps([response, list(items)], ensure_ascii=False).encode("utf-8", "replace")
        size = len(written)
        with self._lock:
            self._stored[response["id"]] = StoredResponse(response, items, previous, size)
            self._size += size
            while len(self._stored) > self._max_responses or self._size > self._max_bytes:
                self._size -= self._stored.popitem(last=False)[1].size

    def get(self, id: str) -> StoredResponse:
        """Return a response.

        Raises:
            ApiError: 404 where it is not kept.
        """
        with self._lock:
            return self._get(id)

    def remove(self, id: str) -> None:
        """Drop a response.

        Raises:
            ApiError: 404 where it is not kept.
        """
        with self._lock:
            self._size -= self._get(id).size
            del self._stored[id]

    def history(self, id: str | None) -> list[Json]:
        """Return the items up to and with a response, the oldest first; none for None.

        Raises:
            ApiError: 400 where it or one before it is not kept.
        """
        chain: list[StoredResponse] = []
        with self._lock:
            while id:
                if id not in self._stored:
                    raise _not_kept(400, id)
                chain.append(self._get(id))
                id = chain[-1].previous
        return [item for one in reversed(chain) for item in (*one.items, *one.response["output"])]

    def _get(self, id: str) -> StoredResponse:
        if id not in self._stored:
            raise _not_kept(404, id)
        self._stored.move_to_end(id)
        return self._stored[id]


def _not_kept(status: int, id: str) -> ApiError:
    return ApiError(
        status,
        f"response {id[:MAX_SHOWN_ID]!r} is not kept here: they stay in memory for a while",
        code="previous_response_not_found" if status == 400 else "not_found",
        param="previous_response_id" if status == 400 else "response_id",
    )
