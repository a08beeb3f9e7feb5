"""Get answers from a ``dslocal serve`` of the same user that has the model loaded.

The answer has the same tokens as if this process had loaded the model, and it comes sooner. This
module knows where to find such a server, when it would answer as this command would, and how to
read what it sends. If anything is not as expected before the first word has come, this process
loads the model itself.

It uses http.client: importing httpx2 takes about 70 ms of CPU time longer, more than it saves.
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
from dslocal.cli import session_setup, user_settings
from dslocal.cli.session_setup import ModelFile
from dslocal.errors import EngineError
from dslocal.gguf.header import fingerprint

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.output.reasoning import AnswerEvent
    from dslocal.server.discovery import RunningServer

    from .prepared_question import PreparedQuestion

CONNECT_TIMEOUT_S = 2.0
SILENCE_TIMEOUT_S = 30.0  # a server that lives sends something every 5 s, however long the prompt
MAX_EVENT_BYTES = 64 << 20
ASK_PATH = "/dslocal/ask"
# what a reply of another shape than expected raises: too deep, or with a number too large, too
UNEXPECTED = (ValueError, LookupError, TypeError, RecursionError, ArithmeticError)
DEFAULT_KV = "F16"  # what a context has if nothing else is asked for and memory is not short


class ServerUnavailableError(Exception):
    """The server does not answer as this command would; nothing of its answer was passed on."""


class ServerSearch:
    """The search for a running server that has the model's file loaded."""

    def __init__(self) -> None:
        self.found: RunningServer | None = None

    def known_file(self, path: Path) -> ModelFile | None:
        """Return what a server knows of the file at ``path``, and remember the server."""
        from dslocal.server.discovery import running_servers

        resolved = str(path.resolve())
        for server in running_servers():
            is_candidate = server.path == resolved and server.family in prompts.FAMILIES
            if is_candidate and fingerprint(path, server.header) == server.fingerprint:
                self.found = server
                return ModelFile(path, server.header, prompts.FAMILIES[server.family])
        return None

    def try_answering(
        self, prepared: PreparedQuestion, answer: Callable[[ServeClient], None]
    ) -> bool:
        """Answer with the server that was found.

        Args:
            prepared: The question.
            answer: Prints the answers of a client.

        Returns:
            Whether the server had the answers. If not, nothing was printed.
        """
        server = self.found
        if server is None or not _would_answer_alike(server, prepared):
            return False
        try:
            answer(ServeClient(server, prepared.file.path))
        except ServerUnavailableError:
            return False
        session_setup.remember_loaded(prepared.file.path)
        return True


def _would_answer_alike(server: RunningServer, prepared: PreparedQuestion) -> bool:
    """Return whether the server's context is like the one that this command would make."""
    if server.kv_type != DEFAULT_KV:
        return False
    if prepared.chosen.n_ctx:
        return server.n_ctx == prepared.chosen.n_ctx
    return server.n_ctx >= user_settings.wanted_context(server.header, prepared.chosen)


@dataclass
class ServeClient:
    """A server that has the model of the file at ``path`` loaded."""

    server: RunningServer
    path: Path
    _has_session: bool = False

    @cached_property
    def model(self) -> LlamaModel:
        """Return the model's vocabulary alone."""
        return session_setup.load_model(self.path, vocab_only=True)

    def new_session(self, prepared: PreparedQuestion) -> ServedSession:
        """Return a session for one answer. After the first, answers share its prefill."""
        is_first = not self._has_session
        self._has_session = True
        return ServedSession(self.server, prepared, is_first)


@dataclass
class ServedSession:
    """One answer of a server, as :class:`dslocal.chat.Session` is one of a model that is loaded
    here.

    Attributes:
        server: The server that answers.
        prepared: The question.
        is_first: Whether nothing of the server's cache is used.
        turn: The answer, once it has started.
    """

    server: RunningServer
    prepared: PreparedQuestion
    is_first: bool
    turn: output.Turn | None = None

    def stream(
        self, text: str, seed: int, *, on_prefill: Callable[[int, int], None] | None = None
    ) -> Generator[chat.Event]:
        """Yield the answer to ``text`` as it comes.

        Raises:
            ServerUnavailableError: The first answer failed before it began.
            EngineError: The server went away later.
            KeyboardInterrupt: Ctrl-C.
        """
        connection = HTTPConnection(self.server.host, self.server.port, timeout=CONNECT_TIMEOUT_S)
        has_started = False
        try:
            with closing(connection):
                self._send(connection, text, seed)
                for event in _read_events(connection.getresponse()):
                    if "turn" in event:
                        self._finish(event["turn"])
                        return
                    for part in self._collect(event, seed):
                        has_started = True
                        yield part
            raise EOFError
        except (OSError, HTTPException, EOFError, *UNEXPECTED) as e:
            if self.is_first and not has_started:
                raise ServerUnavailableError from e
            raise EngineError(
                "the running dslocal serve ended before its answer was complete",
                hint="add --cold to load the model in this process",
            ) from e

    def _send(self, connection: HTTPConnection, text: str, seed: int) -> None:
        headers = {
            "Authorization": f"Bearer {self.server.token}",
            "Content-Type": "application/json",
        }
        body = json.dumps(self._request(text, seed)).encode()
        connection.request("POST", ASK_PATH, body, headers)
        if connection.sock:
            connection.sock.settimeout(SILENCE_TIMEOUT_S)

    def _request(self, text: str, seed: int) -> dict[str, Any]:
        prepared = self.prepared
        constraint = prepared.constraint
        form = None
        if constraint:
            schema = json.dumps(constraint.schema)
            form = {"source": constraint.source, "schema_text": schema}
        settings = prepared.settings
        return {
            "fingerprint": self.server.fingerprint,
            "family": prepared.file.family.name,
            "text": text,
            "system": prepared.system,
            "thinking": prepared.thinking.value.value,
            "effort": prepared.file.family.default_effort,
            "settings": {name: getattr(settings, name).value for name in prompts.SETTINGS},
            "seed": seed,
            "top_logprobs": prepared.top_logprobs,
            "form": form,
            "fresh": self.is_first,
        }

    def _collect(self, event: dict[str, Any], seed: int) -> Iterator[AnswerEvent]:
        """Add the parts of an event to the turn, and yield them."""
        if self.turn is None:
            constraint = self.prepared.constraint
            self.turn = output.Turn(prompt_tokens=0, seed=seed, constraint=constraint)
        for part in _parts(event):
            self.turn.add(part)
            self.turn.text_is_certain = bool(event.get("sure"))
            yield part

    def _finish(self, sent: Any) -> None:
        """Replace the turn by the server's, which has all counts."""
        from dslocal.server.wire.ask.turn_json import turn_from_json

        self.turn = turn_from_json(sent)
        self.turn.constraint = self.prepared.constraint
        self.turn.top_logprobs = self.prepared.top_logprobs


def _read_events(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream, without comments.

    Raises:
        ConnectionRefusedError: The server declines.
        ValueError: It sends something that is not an event, or an error.
    """
    if response.status != 200:
        raise ConnectionRefusedError
    while line := response.readline(MAX_EVENT_BYTES):
        text = line.strip()
        if not text.startswith(b"data:"):
            continue
        data = text[len(b"data:") :].strip()
        if data == b"[DONE]":
            return
        event = json.loads(data)
        if not isinstance(event, dict) or "error" in event:
            raise ValueError("an error in the stream")
        yield event


def _parts(event: dict[str, Any]) -> Iterator[AnswerEvent]:
    if "reasoning" in event:
        yield output.Reasoning(str(event["reasoning"]))
    if "answer" in event:
        yield output.Text(str(event["answer"]))
    if "reclassified" in event:
        yield output.Reclassified()
