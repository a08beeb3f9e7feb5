"""The response to a Messages request: a message of blocks, whole or as events.

Source of the events and their order: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent, call_key
from dslocal.server.wire.encoding import named_event, partial_object
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.stream_format import SSE

from .anthropic_errors import anthropic_error

if TYPE_CHECKING:
    from dslocal.server.preparation.prepared_request import PreparedRequest
    from dslocal.server.wire.openai_response import ResponseHead

Json = dict[str, Any]
PING = named_event({"type": "ping"})
SIGNATURE_PREFIX = "dslocal-"


def signature_of(reasoning: str) -> str:
    """Return the signature of a block of reasoning: a hash, which nothing here checks.

    Clients refuse a block without one, and send it back as it came.
    """
    return SIGNATURE_PREFIX + hashlib.sha256(reasoning.encode("utf-8", "replace")).hexdigest()


class MessagesResponse:
    """The response to one request, whole or as a stream."""

    media_type = SSE
    keep_alive = PING

    def __init__(
        self, requests: Sequence[PreparedRequest], head: ResponseHead, *, hides_thinking: bool
    ) -> None:
        """Respond to the only one of ``requests``.

        Args:
            requests: The request.
            head: What is said about the model.
            hides_thinking: Whether blocks of reasoning come without their text.
        """
        self._request = requests[0]
        self._head = head
        self._hides_thinking = hides_thinking
        self._turn: output.Turn | None = None
        self._has_started = False
        self._open = ""  # the type of the block that is open
        self._index = -1  # its number
        self._reasoning: list[str] = []  # of the open block

    def chunks(self, events: Sequence[RunEvent]) -> Iterator[bytes]:
        """Yield what is sent for ``events``."""
        for event in events:
            yield from self._start()
            if isinstance(event, AnswerEnd):
                self._turn = event.turn
                yield from self._close_block()
                yield from self._finish(event.turn)
            else:
                yield from self._part(event)

    def end(self) -> bytes:
        """Return nothing: the last event ends the stream."""
        return b""

    def error(self, error: ApiError) -> bytes:
        """Return the event that ends a stream which fails."""
        return named_event(anthropic_error(error))

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events`` of a response that is sent whole."""
        for event in events:
            if isinstance(event, AnswerEnd):
                self._turn = event.turn

    def body(self) -> Json:
        """Return the whole message."""
        turn = self._turn
        if turn is None:
            return self._message_json([], None, self._usage(0, 0))
        usage = self._usage(turn.cached_tokens, turn.completion_tokens)
        return self._message_json(self._blocks(turn), turn, usage)

    def _start(self) -> Iterator[bytes]:
        if self._has_started:
            return
        self._has_started = True
        message = self._message_json([], None, self._usage(0, 0))
        yield named_event({"type": "message_start", "message": message})

    def _part(self, event: AnswerPart) -> Iterator[bytes]:
        match event.part:
            case output.Reasoning(text):
                yield from self._open_block("thinking", {"thinking": "", "signature": ""})
                self._reasoning.append(text)
                if not self._hides_thinking:
                    yield self._delta({"type": "thinking_delta", "thinking": text})
            case output.Text(text):
                yield from self._open_block("text", {"text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case output.ToolCallStarted(index, name):
                yield from self._close_block()
                fields = {"id": self._call_id(index), "name": name, "input": {}}
                yield from self._open_block("tool_use", fields)
                yield self._delta({"type": "input_json_delta", "partial_json": ""})
            case output.ToolCallArguments(_, text):
                yield self._delta({"type": "input_json_delta", "partial_json": text})

    def _open_block(self, kind: str, fields: Json) -> Iterator[bytes]:
        """Open a block, after the one before, unless one of its type is open."""
        if self._open == kind:
            return
        yield from self._close_block()
        self._open = kind
        self._index += 1
        block = {"type": kind, **fields}
        yield named_event(
            {"type": "content_block_start", "index": self._index, "content_block": block}
        )
        if self._index == 0:
            yield PING

    def _close_block(self) -> Iterator[bytes]:
        if not self._open:
            return
        if self._open == "thinking":
            signature = signature_of("".join(self._reasoning))
            self._reasoning.clear()
            yield self._delta({"type": "signature_delta", "signature": signature})
        self._open = ""
        yield named_event({"type": "content_block_stop", "index": self._index})

    def _finish(self, turn: output.Turn) -> Iterator[bytes]:
        usage = self._usage(turn.cached_tokens, turn.completion_tokens)
        yield named_event({"type": "message_delta", "delta": _stop(turn), "usage": usage})
        yield named_event({"type": "message_stop"})

    def _delta(self, delta: Json) -> bytes:
        return named_event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _message_json(self, blocks: list[Json], turn: output.Turn | None, usage: Json) -> Json:
        stop = _stop(turn) if turn else {"stop_reason": None, "stop_sequence": None}
        return {
            "id": f"msg_{self._request.key}",
            "type": "message",
            "role": "assistant",
            "model": self._head.name,
            "content": blocks,
            **stop,
            "usage": usage,
        }

    def _usage(self, cached: int, completion: int) -> Json:
        return {
            "input_tokens": len(self._request.ids) - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": completion,
        }

    def _blocks(self, turn: output.Turn) -> list[Json]:
        blocks: list[Json] = []
        if turn.reasoning:
            shown = "" if self._hides_thinking else turn.reasoning
            signature = signature_of(turn.reasoning)
            blocks.append({"type": "thinking", "thinking": shown, "signature": signature})
        if turn.text:
            blocks.append({"type": "text", "text": turn.text})
        for index, call in enumerate(turn.calls):
            block = {"type": "tool_use", "id": self._call_id(index), "name": call.name}
            blocks.append({**block, "input": partial_object(call.arguments)})
        return blocks

    def _call_id(self, index: int) -> str:
        return f"toolu_{call_key(self._request.key, 0, index)}"


def _stop(turn: output.Turn) -> Json:
    reason = "end_turn"
    if turn.is_cut:
        reason = "max_tokens"
    elif turn.stop_text is not None:
        reason = "stop_sequence"
    elif turn.calls:
        reason = "tool_use"
    warning = {"warning": turn.warning} if turn.warning else {}
    return {"stop_reason": reason, "stop_sequence": turn.stop_text, **warning}
