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

from dslocal import output
from dslocal.server.events import AnswerEnd, AnswerPart, RunEvent

from .encoding import sse_event
from .logprobs import chat_logprobs, completion_logprobs

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.output.reasoning import AnswerEvent
    from dslocal.server.preparation.requests import PreparedRequest

Json = dict[str, Any]


def usage_of(turns: Sequence[output.Turn], firsts: Sequence[output.Turn]) -> Json:
    """Return the token counts of all answers.

    Args:
        turns: The answers.
        firsts: The first answer to each prompt; a prompt is counted once.
    """
    prompt = sum(turn.prompt_tokens for turn in firsts)
    cached = sum(turn.cached_tokens for turn in firsts)
    completion = sum(turn.completion_tokens for turn in turns)
    reasoning = sum(turn.reasoning_tokens for turn in turns)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_cache_hit_tokens": cached,
        "prompt_cache_miss_tokens": prompt - cached,
        "prompt_tokens_details": {"cached_tokens": cached},
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
    no_answer: str | None = None


def _no_answer_json(reason: str | None) -> Json:
    """Return the field that says why an answer is empty; nothing where it is not."""
    return {"no_answer": reason} if reason else {}


class OpenAiResponse(ABC):
    """The response to one request, whole or in chunks."""

    id_prefix: str
    object_name: str
    chunk_object_name: str

    def __init__(self, requests: Sequence[PreparedRequest], head: ResponseHead) -> None:
        self.request = requests[0]
        self.head = head
        # the request of every answer
        self._asked = [request for request in requests for _ in range(request.n)]
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
                for opening in self._opening_deltas(chunk.choice):
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
            reason = self._finish_reason(event.turn)
            return Chunk(event.choice, {}, reason, no_answer=event.turn.no_answer)
        delta = self._delta(event.part)
        if delta is None:
            return None
        return Chunk(event.choice, delta, None, self._part_logprobs(event))

    def _usage(self) -> Json:
        turns = [turn for _, turn in sorted(self.turns.items())]
        firsts = [
            self.turns[choice]
            for choice, request in enumerate(self._asked)
            if choice == 0 or request is not self._asked[choice - 1]
        ]
        return usage_of(turns, firsts)

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
    def _opening_deltas(self, choice: int) -> list[Json]:
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

    def __init__(self, requests: Sequence[PreparedRequest], head: ResponseHead) -> None:
        super().__init__(requests, head)
        self._logprobs: dict[int, dict[str, list[Any]]] = {}

    @property
    def _has_reasoning(self) -> bool:
        return self.request.family.format.think is not None

    def _finish_reason(self, turn: output.Turn) -> str:
        reason = super()._finish_reason(turn)
        if reason != "stop" or not turn.calls:
            return reason
        return "function_call" if self.request.uses_functions else "tool_calls"

    def _opening_deltas(self, choice: int) -> list[Json]:
        return [{"role": "assistant", "content": None if self._has_reasoning else ""}]

    def _delta(self, part: AnswerEvent) -> Json | None:
        match part:
            case output.Reasoning(text):
                return None if self.request.hides_reasoning else {"reasoning_content": text}
            case output.Text(text):
                return {"content": text}
            case output.ToolCallStarted(index, name):
                return self._call_delta(index, name)
            case output.ToolCallArguments(index, text) if self.request.uses_functions:
                return {"function_call": {"arguments": text}} if index == 0 else None
            case output.ToolCallArguments(index, text):
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
        return None  # Reclassified: what was sent as content cannot be taken back

    def _call_delta(self, index: int, name: str) -> Json | None:
        if not self.request.uses_functions:
            return {"tool_calls": [_tool_call(index, name)]}
        return {"function_call": {"name": name, "arguments": ""}} if index == 0 else None

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
            **_no_answer_json(chunk.no_answer),
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
            **_no_answer_json(turn.no_answer),
        }

    def _message(self, turn: output.Turn) -> Json:
        message: Json = {"role": "assistant", "content": turn.text}
        if self._has_reasoning:
            shown = None if self.request.hides_reasoning else turn.reasoning
            message["reasoning_content"] = shown or None
        if not turn.calls:
            return message
        message["content"] = turn.text or None
        if self.request.uses_functions:
            call = turn.calls[0]
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
        else:
            message["tool_calls"] = [
                _tool_call(index, call.name, call.arguments)
                for index, call in enumerate(turn.calls)
            ]
        return message


class CompletionResponse(OpenAiResponse):
    """The response to a completion request."""

    id_prefix = "cmpl"
    object_name = chunk_object_name = "text_completion"

    def _opening_deltas(self, choice: int) -> list[Json]:
        echo = self._asked[choice].echo
        return [{"text": echo}] if echo else []

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
            **_no_answer_json(chunk.no_answer),
        }
        return sse_event({**self._head_json(self.chunk_object_name), "choices": [choice]})

    def _choice_json(self, number: int, turn: output.Turn) -> Json:
        logprobs = None
        echo = self._asked[number].echo
        if self.request.top_logprobs is not None:
            logprobs = self._logprobs(self._asked[number], turn)
        return {
            "index": number,
            "text": echo + turn.text,
            "logprobs": logprobs,
            "finish_reason": self._finish_reason(turn),
            **_no_answer_json(turn.no_answer),
        }

    def _logprobs(self, request: PreparedRequest, turn: output.Turn) -> Json:
        """Return the logprobs of an answer, after those of its prompt where they are asked for.

        The first token of a prompt has none. That of a text is the one that begins every prompt,
        which is not listed.
        """
        if not request.has_prompt_logprobs:
            return completion_logprobs(turn.logprobs, self.head.model, len(request.echo))
        entries = [*turn.prompt_logprobs, *turn.logprobs]
        first = request.ids[0] if not request.prompt else None
        return completion_logprobs(entries, self.head.model, 0, first=first)


def _tool_call(index: int, name: str, arguments: str = "") -> Json:
    return {
        "index": index,
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
