"""The chat page's side of the server: what its scripts ask for, without a browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
from support.waiting import wait_until

from dslocal import chat

from .serving import Serving

ENDLESS = {
    "logit_bias": ["<｜end▁of▁sentence｜>=-100"],
    "temperature": 1.5,
}  # until the context ends
ATTEMPTS = 20  # to begin an answer that goes on


class PageClient:
    """Asks what the page asks. Errors come back as responses; everything else must succeed."""

    def __init__(self, served: Serving) -> None:
        self.served = served

    def state(self) -> dict[str, Any]:
        """Return the models and the machine."""
        return self._json(self.served.http.get("/dslocal/state"), 200)

    def begin(self, text: str, **more: Any) -> str:
        """Begin a conversation, and return its id."""
        response = self.served.post("/dslocal/conversations", {"text": text, **more})
        return str(self._json(response, 202)["id"])

    def begin_until_kept(self) -> str:
        """Begin an answer without end, and return its conversation once some of it is on disk.

        An answer that repeats itself is ended. Then another one is begun.
        """
        for _ in range(ATTEMPTS):
            id = self.begin("What is the capital of Peru?", settings=ENDLESS, thinking=False)
            wait_until(partial(self._has_answer, id))
            if self.stored(id).history[-1].cut == "interrupted":  # as it is while it goes on
                return id
        raise AssertionError("every answer ended")

    def _has_answer(self, id: str) -> bool:
        """Return whether some of an answer is on disk; the file itself comes with its question."""
        kept = any(each["id"] == id for each in self.found())
        return kept and len(self.stored(id).history) > 1

    def send(self, id: str, **turn: Any) -> httpx2.Response:
        """Begin another turn."""
        return self.served.post(f"/dslocal/conversations/{id}/answers", turn)

    def show(self, id: str) -> dict[str, Any]:
        """Return a conversation."""
        return self._json(self.served.http.get(f"/dslocal/conversations/{id}"), 200)

    def found(self, search: str = "") -> list[dict[str, Any]]:
        """Return the list of conversations."""
        answer = self.served.http.get("/dslocal/conversations", params={"search": search})
        found: list[dict[str, Any]] = self._json(answer, 200)["conversations"]
        return found

    def events(self, id: str) -> Generator[dict[str, Any]]:
        """Yield the events of an answer. Closing the iterator closes the connection."""
        path = f"/dslocal/conversations/{id}/answer"
        with self.served.http.stream("GET", path) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

    def end(self, id: str) -> dict[str, Any]:
        """Wait for the end of an answer, and return its last event."""
        *_, last = self.events(id)
        assert last["type"] == "end"
        return last

    def ask(self, text: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """Return a new conversation with one question, and the last event of its answer."""
        id = self.begin(text, **more)
        return id, self.end(id)

    def stored(self, id: str) -> chat.StoredConversation:
        """Return the conversation as the terminal would read it."""
        with self.on_disk():
            return chat.load_by_id(id)

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[None]:
        """Have this process find the server's conversations."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DSLOCAL_HOME", str(self.served.home))
            yield

    @staticmethod
    def _json(answer: httpx2.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found
