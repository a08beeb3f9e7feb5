"""Responses as OpenAI's and DeepSeek's clients read them: whole, and in chunks. Knows turns, not
how they come about.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dslocal import output, prompts
from dslocal.server.queue import Ended, Event, Said
from dslocal.server.requests import PreparedRequest

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel, TokenLogprobs
    from dslocal.output.reasoning import AnswerEvent

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def sse(body: Mapping[str, Any]) -> bytes:
    """``body`` as one event of a stream."""
    return b"data: " + encoded(body) + b"\n\n"


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def usage_of(turns: Sequence[output.Turn]) -> dict[str, Any]:
    """All answers to one prompt, which is counted once."""
    first = turns[0]
    completion = sum(turn.completion_tokens for turn in turns)
    return {
        "prompt_tokens": first.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": first.prompt_tokens + completion,
        "prompt_cache_hit_tokens": first.cached_tokens,
        "prompt_cache_miss_tokens": first.prompt_tokens - first.cached_tokens,
        "prompt_tokens_details": {"cached_tokens": first.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(turn.reasoning_tokens for turn in turns)
        },
    }


@dataclass
class Reply:
    """The reply to one chat request; :class:`TextReply` to a completion. ``spoken`` collects
    logprobs by choice and part.
    """

    asked: PreparedRequest
    model: LlamaModel
    name: str
    fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    turns: dict[int, output.Turn] = field(default_factory=dict)
    _begun: set[int] = field(default_factory=set)
    _logprobs: dict[int, dict[str, list[Any]]] = field(default_factory=dict)

    kind, chunk_kind = "chat.completion", "chat.completion.chunk"

    def chunks(self, events: Sequence[Event]) -> Iterator[bytes]:
        """What is sent of ``events`` in a stream."""
        for event in events:
            if isinstance(event, Ended):
                self.turns[event.choice] = event.turn
                if event.choice not in self._begun:
                    yield self._begin(event.choice)
                yield self._chunk(event.choice, {}, self.finish(event.turn))
            elif (delta := self._delta(event.part)) is not None:
                if event.choice not in self._begun:
                    yield self._begin(event.choice)
                yield self._chunk(event.choice, delta, None, self._listed(event))

    def collect(self, events: Sequence[Event]) -> None:
        """Takes in ``events`` of a reply that is sent whole."""
        for event in events:
            if isinstance(event, Ended):
                self.turns[event.choice] = event.turn
            else:
                kept = self._logprobs.setdefault(
                    event.choice, {"content": [], "reasoning_content": []}
                )
                for key, entries in (self._listed(event) or {}).items():
                    kept[key] += entries or []

    def whole(self) -> dict[str, Any]:
        choices = [self._choice(number, turn) for number, turn in sorted(self.turns.items())]
        return {
            **self._head(self.kind),
            "choices": choices,
            "usage": self.usage(),
            "seed": self.asked.seed,
        }

    def last_chunk(self) -> bytes:
        """The chunk that has the usage and no choices."""
        return sse(
            {
                **self._head(self.chunk_kind),
                "choices": [],
                "usage": self.usage(),
                "seed": self.asked.seed,
            }
        )

    def usage(self) -> dict[str, Any]:
        return usage_of([turn for _, turn in sorted(self.turns.items())])

    def finish(self, turn: output.Turn) -> str:
        reason = turn.finish_reason.value if turn.finish_reason else "stop"
        return "tool_calls" if reason == "stop" and (turn.calls or self.asked.called) else reason

    def _begin(self, choice: int) -> bytes:
        self._begun.add(choice)
        opening: dict[str, Any] = {
            "role": "assistant",
            "content": "" if self.asked.family.format.think is None else None,
        }
        chunk = self._chunk(choice, opening, None)
        if self.asked.called:
            chunk += self._chunk(choice, self._called(0, self.asked.called), None)
        return chunk

    def _delta(self, part: AnswerEvent) -> dict[str, Any] | None:
        match part:
            case output.Reasoning(text):
                return {"reasoning_content": text}
            case output.Text(text) if self.asked.called:
                return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            case output.Text(text):
                return {"content": text}
            case output.ToolCallStarted(index, name):
                return self._called(index, name)
            case output.ToolCallArguments(index, text):
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
        return None  # what came as content stays: a stream cannot be taken back

    def _called(self, index: int, name: str) -> dict[str, Any]:
        call = {
            "index": index,
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        return {"tool_calls": [call]}

    def _chunk(
        self,
        choice: int,
        delta: dict[str, Any],
        reason: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        found = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return sse({**self._head(self.chunk_kind), "choices": [found], "usage": None})

    def _choice(self, number: int, turn: output.Turn) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": turn.text}
        if self.asked.family.format.think is not None:
            message["reasoning_content"] = turn.reasoning or None
        calls = (
            [prompts.ToolCall(self.asked.called, turn.text)] if self.asked.called else turn.calls
        )
        if calls:
            message["tool_calls"] = [
                {
                    "index": index,
                    "id": f"call_{secrets.token_hex(12)}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for index, call in enumerate(calls)
            ]
            message["content"] = None if self.asked.called else turn.text or None
        logprobs = (
            None
            if self.asked.top_logprobs is None
            else self._logprobs.get(number, {"content": [], "reasoning_content": []})
        )
        return {
            "index": number,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish(turn),
        }

    def _listed(self, event: Said) -> dict[str, Any] | None:
        if self.asked.top_logprobs is None:
            return None
        entries = [named_logprobs(entry, self.model) for entry in event.logprobs]
        thought = isinstance(event.part, output.Reasoning)
        return {
            "content": None if thought else entries,
            "reasoning_content": entries if thought else None,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.name,
            "system_fingerprint": self.fingerprint,
        }


@dataclass
class TextReply(Reply):
    """The reply to a completion; ``echo`` is a prompt that stands before every text."""

    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    echo: str = ""

    kind = chunk_kind = "text_completion"

    def collect(self, events: Sequence[Event]) -> None:
        self.turns.update(
            (event.choice, event.turn) for event in events if isinstance(event, Ended)
        )

    def finish(self, turn: output.Turn) -> str:
        return turn.finish_reason.value if turn.finish_reason else "stop"

    def _begin(self, choice: int) -> bytes:
        self._begun.add(choice)
        return self._chunk(choice, {"text": self.echo}, None) if self.echo else b""

    def _delta(self, part: AnswerEvent) -> dict[str, Any] | None:
        return {"text": part.text} if isinstance(part, output.Text) else None

    def _chunk(
        self,
        choice: int,
        delta: dict[str, Any],
        reason: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        found = {
            "index": choice,
            "text": delta.get("text", ""),
            "logprobs": logprobs,
            "finish_reason": reason,
        }
        return sse({**self._head(self.chunk_kind), "choices": [found]})

    def _choice(self, number: int, turn: output.Turn) -> dict[str, Any]:
        logprobs = (
            None
            if self.asked.top_logprobs is None
            else _as_lists([turn.logprobs], self.model, len(self.echo))
        )
        return {
            "index": number,
            "text": self.echo + turn.text,
            "logprobs": logprobs,
            "finish_reason": self.finish(turn),
        }

    def _listed(self, event: Said) -> dict[str, Any] | None:
        return (
            None if self.asked.top_logprobs is None else _as_lists([event.logprobs], self.model, 0)
        )


def named_logprobs(entry: TokenLogprobs, model: LlamaModel) -> dict[str, Any]:
    """One token as OpenAI's ``logprobs.content`` has it."""

    def named(id: int, logprob: float) -> dict[str, Any]:
        text, piece = _spelled(id, model)
        return {"token": text, "logprob": round(logprob, 6), "bytes": list(piece)}

    return {
        **named(entry.id, entry.logprob),
        "top_logprobs": [named(*alternative) for alternative in entry.top],
    }


def _spelled(id: int, model: LlamaModel) -> tuple[str, bytes]:
    piece = model.piece(id)
    return (piece.decode("utf-8", "replace") if piece else model.header.tokens()[id]), piece


def _as_lists(
    entries: Sequence[Sequence[TokenLogprobs]], model: LlamaModel, offset: int
) -> dict[str, Any]:
    """As completions have them: a list for each field."""
    found: dict[str, list[Any]] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for entry in (entry for run in entries for entry in run):
        text = _spelled(entry.id, model)[0]
        found["tokens"].append(text)
        found["token_logprobs"].append(round(entry.logprob, 6))
        found["top_logprobs"].append(
            {_spelled(id, model)[0]: round(logprob, 6) for id, logprob in entry.top}
        )
        found["text_offset"].append(offset)
        offset += len(text)
    return found
