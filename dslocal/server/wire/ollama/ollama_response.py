"""The responses to ``/api/chat`` and ``/api/generate``: whole, or as lines of JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent, call_key
from dslocal.server.wire.encoding import json_line, partial_object
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.logprobs import chat_logprobs

if TYPE_CHECKING:
    from dslocal.server.preparation.prepared_request import PreparedRequest
    from dslocal.server.wire.openai_response import ResponseHead

Json = dict[str, Any]
NS = 1_000_000_000  # nanoseconds a second
NDJSON = b"application/x-ndjson"


def ollama_error(error: ApiError) -> Json:
    """Return an API error as Ollama's clients read it."""
    return {"error": error.message}


def timestamp(seconds: int) -> str:
    """Return seconds since 1970 as Ollama writes a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def done_json(name: str, created: int, reason: str, *, is_chat: bool) -> Json:
    """Return the response to a request without a question.

    Args:
        name: The model, as the client named it.
        created: Seconds since 1970.
        reason: What was done, ``load`` or ``unload``.
        is_chat: Whether ``/api/chat`` was asked.
    """
    empty = {"message": {"role": "assistant", "content": ""}} if is_chat else {"response": ""}
    head = {"model": name, "created_at": timestamp(created)}
    return {**head, **empty, "done": True, "done_reason": reason}


@dataclass
class _OpenCall:
    """A call whose arguments are still coming: Ollama's clients get it whole."""

    index: int
    name: str
    arguments: str = ""


class OllamaResponse(ABC):
    """The response to one request, whole or as lines of JSON."""

    media_type = NDJSON
    keep_alive = b""  # clients read every line as JSON

    def __init__(self, requests: Sequence[PreparedRequest], head: ResponseHead, name: str) -> None:
        """Respond to the only one of ``requests``, naming the model as the client did."""
        self._request = requests[0]
        self._head = head
        self._name = name
        self._turn: output.Turn | None = None
        self._call: _OpenCall | None = None
        self._logprobs: list[Json] = []

    def chunks(self, events: Sequence[RunEvent]) -> Iterator[bytes]:
        """Yield the lines for ``events``."""
        for event in events:
            if isinstance(event, AnswerEnd):
                yield from self._end_call()
                yield json_line({**self._line({}), **self._done(event.turn)})
            else:
                yield from self._part(event)

    def end(self) -> bytes:
        """Return nothing: the line of the last event ends the stream."""
        return b""

    def error(self, error: ApiError) -> bytes:
        """Return the line that ends a stream which fails."""
        return json_line(ollama_error(error))

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events`` of a response that is sent whole."""
        for event in events:
            if isinstance(event, AnswerEnd):
                self._turn = event.turn
            else:
                self._logprobs += self._part_logprobs(event)

    def body(self) -> Json:
        """Return the whole response."""
        if self._turn is None:
            return self._line({})
        calls = [
            self._call_json(_OpenCall(index, call.name, call.arguments))
            for index, call in enumerate(self._turn.calls)
        ]
        whole: Json = {"text": self._turn.text}
        if self._turn.reasoning:
            whole["thinking"] = self._turn.reasoning
        if calls:
            whole["tool_calls"] = calls
        logprobs = {} if self._request.top_logprobs is None else {"logprobs": self._logprobs}
        return {**self._line(whole), **logprobs, **self._done(self._turn)}

    @abstractmethod
    def _part_json(self, part: Json) -> Json:
        """Return what a line has of ``part``, whose fields are text, thinking and tool_calls."""

    def _part(self, event: AnswerPart) -> Iterator[bytes]:
        found = self._part_logprobs(event)
        logprobs = {"logprobs": found} if found else {}
        match event.part:
            case output.Reasoning(text):
                yield json_line({**self._line({"thinking": text}), **logprobs})
            case output.Text(text):
                yield from self._end_call()
                yield json_line({**self._line({"text": text}), **logprobs})
            case output.ToolCallStarted(index, name):
                yield from self._end_call()
                self._call = _OpenCall(index, name)
            case output.ToolCallArguments(_, text):
                if self._call is not None:
                    self._call.arguments += text

    def _end_call(self) -> Iterator[bytes]:
        if self._call is not None:
            call, self._call = self._call, None
            yield json_line(self._line({"tool_calls": [self._call_json(call)]}))

    def _call_json(self, call: _OpenCall) -> Json:
        return {
            "id": f"call_{call_key(self._request.key, 0, call.index)}",
            "function": {
                "index": call.index,
                "name": call.name,
                "arguments": partial_object(call.arguments),
            },
        }

    def _part_logprobs(self, event: AnswerPart) -> list[Json]:
        if self._request.top_logprobs is None:
            return []
        return [chat_logprobs(entry, self._head.model) for entry in event.logprobs]

    def _line(self, part: Json) -> Json:
        head = {"model": self._name, "created_at": timestamp(self._head.created)}
        return {**head, **self._part_json(part), "done": False}

    def _done(self, turn: output.Turn) -> Json:
        prefill = turn.timings.prefill if turn.timings else 0.0
        decode = turn.timings.decode if turn.timings else 0.0
        return {
            "done": True,
            "done_reason": "length" if turn.is_cut else "stop",
            "total_duration": int((prefill + decode) * NS),
            "load_duration": 0,
            "prompt_eval_count": turn.prompt_tokens,
            "prompt_eval_duration": int(prefill * NS),
            "eval_count": turn.completion_tokens,
            "eval_duration": int(decode * NS),
            **({"warning": turn.warning} if turn.warning else {}),
        }


class OllamaChatResponse(OllamaResponse):
    """The response to ``/api/chat``."""

    def _part_json(self, part: Json) -> Json:
        fields = {name: part[name] for name in ("thinking", "tool_calls") if name in part}
        return {"message": {"role": "assistant", "content": part.get("text", ""), **fields}}


class OllamaGenerateResponse(OllamaResponse):
    """The response to ``/api/generate``, which has no tools."""

    def _part_json(self, part: Json) -> Json:
        thinking = {"thinking": part["thinking"]} if "thinking" in part else {}
        return {"response": part.get("text", ""), **thinking}
