"""Answers from a ``dslocal serve`` of the same user that has the model loaded: the same tokens as
from a process of its own, sooner.

Knows where to find one, when it would answer as this command would, and how to read what it sends.
Where anything is not as expected before the first word, the model is loaded here after all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dslocal import chat, output, prompts
from dslocal.cli import session_setup
from dslocal.errors import EngineError
from dslocal.gguf.header import GgufHeader, fingerprint
from dslocal.plan.search import Overrides

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.server.discovery import RunningServer

CONNECT_S = 2.0
SILENT_S = 30.0  # a server that lives says so every 5, however long the prompt is
LONGEST = 64 << 20  # bytes of one event
ROUTE = "/dslocal/ask"
USUAL_KV = "F16"  # what a context has unless told otherwise, or memory is short


class Unavailable(Exception):
    """The server does not answer as this command would; nothing of its answer was passed on."""


@dataclass
class ServeClient:
    """A server that holds the model of the file at ``path``."""

    beacon: RunningServer
    path: Path
    drawn: int = 0

    @cached_property
    def model(self) -> LlamaModel:
        """The vocabulary alone."""
        return session_setup.load(self.path, vocab_only=True)

    def session(
        self,
        family: prompts.Family,
        settings: prompts.Settings,
        system: str,
        thinking: prompts.Thinking,
        **more: Any,
    ) -> ServedSession:
        """Answers after the first share its prefill, as they do here."""
        self.drawn += 1
        return ServedSession(
            self.beacon, family, settings, system, thinking, fresh=self.drawn == 1, **more
        )


@dataclass
class ServedSession:
    """One answer; what :class:`dslocal.chat.Session` is to a model that is loaded here."""

    beacon: RunningServer
    family: prompts.Family
    settings: prompts.Settings
    system: str
    thinking: prompts.Thinking
    top_logprobs: int | None = None
    constraint: output.OutputConstraint | None = None
    fresh: bool = True
    turn: output.Turn | None = None

    def stream(
        self, text: str, seed: int, *, on_prefill: Callable[[int, int], None] | None = None
    ) -> Generator[chat.Event]:
        """Raises Unavailable before anything was yielded, EngineError when the server goes away
        later, KeyboardInterrupt.
        """
        from dslocal.server.wire.turn_json import turn_from_json

        begun = False
        try:
            with closing(
                HTTPConnection(self.beacon.host, self.beacon.port, timeout=CONNECT_S)
            ) as connection:
                for event in self._events(connection, text, seed):
                    if "turn" in event:
                        self.turn = turn_from_json(event["turn"])
                        self.turn.constraint, self.turn.top_logprobs = (
                            self.constraint,
                            self.top_logprobs,
                        )
                        return
                    turn = self.turn = self.turn or output.Turn(
                        prompt_tokens=0, seed=seed, constraint=self.constraint
                    )
                    for part in _parts(event):
                        begun = True
                        turn.add(part)
                        turn.text_is_certain = bool(event.get("sure"))
                        yield part
            raise EOFError
        except (OSError, HTTPException, EOFError, ValueError, LookupError, TypeError) as e:
            if not begun and self.fresh:
                raise Unavailable from e
            raise EngineError(
                "the dslocal serve that was answering went away", hint="--cold loads the model here"
            ) from e

    def _events(self, connection: HTTPConnection, text: str, seed: int) -> Iterator[dict[str, Any]]:
        """What the server says. Raises ConnectionRefusedError when it declines."""
        body = {
            "fingerprint": self.beacon.fingerprint,
            "family": self.family.name,
            "text": text,
            "system": self.system,
            "thinking": self.thinking.value,
            "settings": {name: getattr(self.settings, name).value for name in prompts.SETTINGS},
            "seed": seed,
            "top_logprobs": self.top_logprobs,
            "form": {
                "source": self.constraint.source,
                "schema_text": json.dumps(self.constraint.schema),
            }
            if self.constraint
            else None,
            "fresh": self.fresh,
        }
        headers = {
            "Authorization": f"Bearer {self.beacon.token}",
            "Content-Type": "application/json",
        }
        connection.request("POST", ROUTE, json.dumps(body).encode(), headers)
        if connection.sock:
            connection.sock.settimeout(SILENT_S)
        response = connection.getresponse()
        if response.status != 200:
            raise ConnectionRefusedError
        yield from _read(response)


@dataclass
class Search:
    """For a running server that holds the file in question. ``found`` is the one, once
    :meth:`known` was asked.
    """

    found: RunningServer | None = None

    def known(self, path: Path) -> tuple[GgufHeader, prompts.Family] | None:
        """What a server knows of the file at ``path``, for :func:`dslocal.cli.session_setup.prepare`."""
        from dslocal.server import discovery

        resolved = str(path.resolve())
        for each in discovery.running_servers():
            if (
                each.path == resolved
                and each.family in prompts.FAMILIES
                and fingerprint(path, each.header) == each.fingerprint
            ):
                self.found = each
                return each.header, prompts.FAMILIES[each.family]
        return None

    def answered(
        self, path: Path, overrides: Overrides, draw: Callable[[ServeClient, float], None]
    ) -> bool:
        """Whether ``draw`` had its answers from the server; it is told that loading took no time.
        ``pins`` may decide on the context.
        """
        found = self.found
        if found is None or found.kv_type != USUAL_KV:
            return False
        if (
            found.n_ctx != overrides.n_ctx
            if overrides.n_ctx
            else found.n_ctx < session_setup.wanted_context(found.header, overrides)
        ):
            return False
        try:
            draw(ServeClient(found, path), 0.0)
        except Unavailable:
            return False
        session_setup.loaded(path)
        return True


def _read(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Events of a stream, without comments. Raises ValueError for what is none."""
    while line := response.readline(LONGEST):
        text = line.strip()
        if text.startswith(b"data:"):
            data = text[5:].strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if not isinstance(event, dict) or "error" in event:
                raise ValueError("an error in the stream")
            yield event


def _parts(event: dict[str, Any]) -> Iterator[Any]:
    if "reasoning" in event:
        yield output.Reasoning(str(event["reasoning"]))
    if "answer" in event:
        yield output.Text(str(event["answer"]))
    if "reclassified" in event:
        yield output.Reclassified()
