"""Responses as clients of OpenAI and DeepSeek read them: whole, and in chunks.

Knows turns and events, not how they come about.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dslocal import output, prompts
from dslocal.server.events import AnswerEnd, AnswerPart, RunEvent

from .encoding import sse_event
from .logprobs import chat_logprobs, completion_logprobs

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.output.reasoning import AnswerEvent
    from dslocal.server.requests import PreparedRequest

Json = dict[str, Any]


def usage_of(turns: Sequence[output.Turn]) -> Json:
    """Return the token counts of all answers to one prompt, which is counted once."""
    first = turns[0]
    completion = sum(turn.completion_tokens for turn in turns)
    reasoning = sum(turn.reasoning_tokens for turn in turns)
    return {
        "prompt_tokens": first.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": first.prompt_tokens + completion,
        "prompt_cache_hit_tokens": first.cached_tokens,
        "prompt_cache_miss_tokens": first.prompt_tokens - first.cached_tokens,
        "prompt_tokens_details": {"cached_tokens": first.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@dataclass(frozen=True)
class ResponseHead:
    """What responses say about the model, and the model itself for the text of tokens."""

    model: LlamaModel
    name: str
    fingerprint: str


class Chunk(NamedTuple):
    """What a stream says about one answer at one time."""

    choice: int
    delta: Json
    finish_reason: str | None = None
    logprobs: Json | None = None


class OpenAiResponse(ABC):
    """The response to one request, whole or in chunks."""

    id_prefix: str
    object_name: str
    chunk_object_name: str

    def __init__(self, request: PreparedRequest, head: ResponseHead) -> None:
        self.request = request
        self.head = head
        self.id = f"{self.id_prefix}-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.turns: dict[int, output.Turn] = {}
        self._opened: set[int] = set()  # answers whose first chunk was sent

    def chunks(self, events: Sequence[RunEvent]) -> Iterator[bytes]:
        """Yield what is sent of ``events`` in a stream."""
        for event in events:
            chunk = self._chunk_for(event)
            if chunk is None:
                continue
            if chunk.choice not in self._opened:
                self._opened.add(chunk.choice)
                for opening in self._opening_deltas():
                    yield self._chunk_bytes(Chunk(chunk.choice, opening))
            yield self._chunk_bytes(chunk)

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events`` of a response that is sent whole."""
        for event in events:
            if isinstance(event, AnswerEnd):
                self.turns[event.choice] = event.turn
            else:
                self._collect_part(event)

    def body(self) -> Json:
        """Return the whole response."""
        choices = [self._choice_json(number, turn) for number, turn in sorted(self.turns.items())]
        return {
            **self._head_json(self.object_name),
            "choices": choices,
            "usage": self._usage(),
            "seed": self.request.seed,
        }

    def usage_chunk(self) -> bytes:
        """Return the last chunk of a stream, which has the usage and no choices."""
        return sse_event(
            {
                **self._head_json(self.chunk_object_name),
                "choices": [],
                "usage": self._usage(),
                "seed": self.request.seed,
            }
        )

    def _chunk_for(self, event: RunEvent) -> Chunk | None:
        if isinstance(event, AnswerEnd):
            self.turns[event.choice] = event.turn
            return Chunk(event.choice, {}, self._finish_reason(event.turn))
        delta = self._delta(event.part)
        if delta is None:
            return None
        return Chunk(event.choice, delta, None, self._part_logprobs(event))

    def _usage(self) -> Json:
        return usage_of([turn for _, turn in sorted(self.turns.items())])

    def _finish_reason(self, turn: output.Turn) -> str:
        return turn.finish_reason.value if turn.finish_reason else "stop"

    def _head_json(self, object_name: str) -> Json:
        return {
            "id": self.id,
            "object": object_name,
            "created": self.created,
            "model": self.head.name,
            "system_fingerprint": self.head.fingerprint,
        }

    @abstractmethod
    def _opening_deltas(self) -> list[Json]:
        """Return what the first chunks of an answer have."""

    @abstractmethod
    def _delta(self, part: AnswerEvent) -> Json | None:
        """Return what a chunk has for ``part``; None where nothing is sent."""

    @abstractmethod
    def _part_logprobs(self, event: AnswerPart) -> Json | None:
        """Return the logprobs of a part, if the request asks for them."""

    @abstractmethod
    def _collect_part(self, event: AnswerPart) -> None:
        """Keep what the whole response needs of a part and its turn does not have."""

    @abstractmethod
    def _chunk_bytes(self, chunk: Chunk) -> bytes:
        """Return a chunk as an event of the stream."""

    @abstractmethod
    def _choice_json(self, number: int, turn: output.Turn) -> Json:
        """Return one answer of the whole response."""


class ChatResponse(OpenAiResponse):
    """The response to a chat request."""

    id_prefix = "chatcmpl"
    object_name = "chat.completion"
    chunk_object_name = "chat.completion.chunk"

    def __init__(self, request: PreparedRequest, head: ResponseHead) -> None:
        super().__init__(request, head)
        self._logprobs: dict[int, dict[str, list[Any]]] = {}

    @property
    def _has_reasoning(self) -> bool:
        return self.request.family.format.think is not None

    def _finish_reason(self, turn: output.Turn) -> str:
        reason = super()._finish_reason(turn)
        has_calls = bool(turn.calls or self.request.forced_tool)
        return "tool_calls" if reason == "stop" and has_calls else reason

    def _opening_deltas(self) -> list[Json]:
        content = None if self._has_reasoning else ""
        deltas: list[Json] = [{"role": "assistant", "content": content}]
        if self.request.forced_tool:
            deltas.append({"tool_calls": [_tool_call(0, self.request.forced_tool)]})
        return deltas

    def _delta(self, part: AnswerEvent) -> Json | None:
        match part:
            case output.Reasoning(text):
                return {"reasoning_content": text}
            case output.Text(text) if self.request.forced_tool:
                return _arguments_delta(0, text)
            case output.Text(text):
                return {"content": text}
            case output.ToolCallStarted(index, name):
                return {"tool_calls": [_tool_call(index, name)]}
            case output.ToolCallArguments(index, text):
                return _arguments_delta(index, text)
        return None  # Reclassified: what was sent as content cannot be taken back

    def _part_logprobs(self, event: AnswerPart) -> Json | None:
        if self.request.top_logprobs is None:
            return None
        entries = [chat_logprobs(entry, self.head.model) for entry in event.logprobs]
        if isinstance(event.part, output.Reasoning):
            return {"content": None, "reasoning_content": entries}
        return {"content": entries, "reasoning_content": None}

    def _collect_part(self, event: AnswerPart) -> None:
        kept = self._logprobs.setdefault(event.choice, {"content": [], "reasoning_content": []})
        for key, entries in (self._part_logprobs(event) or {}).items():
            kept[key] += entries or []

    def _chunk_bytes(self, chunk: Chunk) -> bytes:
        choice = {
            "index": chunk.choice,
            "delta": chunk.delta,
            "logprobs": chunk.logprobs,
            "finish_reason": chunk.finish_reason,
        }
        head = self._head_json(self.chunk_object_name)
        return sse_event({**head, "choices": [choice], "usage": None})

    def _choice_json(self, number: int, turn: output.Turn) -> Json:
        logprobs = None
        if self.request.top_logprobs is not None:
            logprobs = self._logprobs.get(number, {"content": [], "reasoning_content": []})
        return {
            "index": number,
            "message": self._message(turn),
            "logprobs": logprobs,
            "finish_reason": self._finish_reason(turn),
        }

    def _message(self, turn: output.Turn) -> Json:
        message: Json = {"role": "assistant", "content": turn.text}
        if self._has_reasoning:
            message["reasoning_content"] = turn.reasoning or None
        calls = turn.calls
        if self.request.forced_tool:
            calls = [prompts.ToolCall(self.request.forced_tool, turn.text)]
        if calls:
            message["tool_calls"] = [
                _tool_call(index, call.name, call.arguments) for index, call in enumerate(calls)
            ]
            message["content"] = None if self.request.forced_tool else turn.text or None
        return message


class CompletionResponse(OpenAiResponse):
    """The response to a completion request. ``echo`` is a prompt that stands before every text."""

    id_prefix = "cmpl"
    object_name = chunk_object_name = "text_completion"
    echo: str = ""

    def _opening_deltas(self) -> list[Json]:
        return [{"text": self.echo}] if self.echo else []

    def _delta(self, part: AnswerEvent) -> Json | None:
        return {"text": part.text} if isinstance(part, output.Text) else None

    def _part_logprobs(self, event: AnswerPart) -> Json | None:
        if self.request.top_logprobs is None:
            return None
        return completion_logprobs(event.logprobs, self.head.model, 0)

    def _collect_part(self, event: AnswerPart) -> None:
        """Keep nothing: the turn has the text and all logprobs."""

    def _chunk_bytes(self, chunk: Chunk) -> bytes:
        choice = {
            "index": chunk.choice,
            "text": chunk.delta.get("text", ""),
            "logprobs": chunk.logprobs,
            "finish_reason": chunk.finish_reason,
        }
        return sse_event({**self._head_json(self.chunk_object_name), "choices": [choice]})

    def _choice_json(self, number: int, turn: output.Turn) -> Json:
        logprobs = None
        if self.request.top_logprobs is not None:
            logprobs = completion_logprobs(turn.logprobs, self.head.model, len(self.echo))
        return {
            "index": number,
            "text": self.echo + turn.text,
            "logprobs": logprobs,
            "finish_reason": self._finish_reason(turn),
        }


def _tool_call(index: int, name: str, arguments: str = "") -> Json:
    return {
        "index": index,
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _arguments_delta(index: int, text: str) -> Json:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
