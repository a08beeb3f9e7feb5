"""The response to a chat request, as clients of OpenAI and DeepSeek read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.exchange.events import AnswerPart, call_key
from dslocal.server.wire.encoding import sse_event
from dslocal.server.wire.logprobs import chat_logprobs
from dslocal.server.wire.openai_response import (
    Chunk,
    Json,
    OpenAiResponse,
    ResponseHead,
    remarks_json,
)

if TYPE_CHECKING:
    from dslocal.server.preparation.prepared_request import PreparedRequest


class ChatResponse(OpenAiResponse):
    """The response to a chat request."""

    id_prefix = "chatcmpl"
    object_name = "chat.completion"
    chunk_object_name = "chat.completion.chunk"

    def __init__(
        self,
        requests: Sequence[PreparedRequest],
        head: ResponseHead,
        *,
        has_usage: bool = False,
        uses_functions: bool = False,
        hides_reasoning: bool = False,
    ) -> None:
        """Respond to a chat request.

        Args:
            requests: The request, as the only one.
            head: What is said about the model.
            has_usage: Whether a stream ends with a usage chunk.
            uses_functions: Whether calls are ``function_call``, OpenAI's format of 2023.
            hides_reasoning: Whether the reasoning is left out.
        """
        super().__init__(requests, head, has_usage=has_usage)
        self._uses_functions = uses_functions
        self._hides_reasoning = hides_reasoning
        self._logprobs: dict[int, dict[str, list[Any]]] = {}

    @property
    def _has_reasoning(self) -> bool:
        return self.request.family.format.think is not None

    def _finish_reason(self, turn: output.Turn) -> str:
        reason = super()._finish_reason(turn)
        if reason != "stop" or not turn.calls:
            return reason
        return "function_call" if self._uses_functions else "tool_calls"

    def _opening_deltas(self, choice: int) -> list[Json]:
        return [{"role": "assistant", "content": None if self._has_reasoning else ""}]

    def _delta(self, event: AnswerPart) -> Json | None:
        match event.part:
            case output.Reasoning(text):
                return None if self._hides_reasoning else {"reasoning_content": text}
            case output.Text(text):
                return {"content": text}
            case output.ToolCallStarted(index, name):
                return self._call_delta(event.choice, index, name)
            case output.ToolCallArguments(index, text) if self._uses_functions:
                return {"function_call": {"arguments": text}} if index == 0 else None
            case output.ToolCallArguments(index, text):
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
        return None  # Reclassified: what was sent as content cannot be taken back

    def _call_delta(self, choice: int, index: int, name: str) -> Json | None:
        if not self._uses_functions:
            return {"tool_calls": [self._tool_call(choice, index, name)]}
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
            **remarks_json(chunk.turn),
        }
        head = self._head_json(self.chunk_object_name)
        return sse_event({**head, "choices": [choice], "usage": None})

    def _choice_json(self, number: int, turn: output.Turn) -> Json:
        logprobs = None
        if self.request.top_logprobs is not None:
            logprobs = self._logprobs.get(number, {"content": [], "reasoning_content": []})
        return {
            "index": number,
            "message": self._message(number, turn),
            "logprobs": logprobs,
            "finish_reason": self._finish_reason(turn),
            **remarks_json(turn),
        }

    def _message(self, number: int, turn: output.Turn) -> Json:
        message: Json = {"role": "assistant", "content": turn.text}
        if self._has_reasoning:
            shown = None if self._hides_reasoning else turn.reasoning
            message["reasoning_content"] = shown or None
        if not turn.calls:
            return message
        message["content"] = turn.text or None
        if self._uses_functions:
            call = turn.calls[0]
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
        else:
            message["tool_calls"] = [
                self._tool_call(number, index, call.name, call.arguments)
                for index, call in enumerate(turn.calls)
            ]
        return message

    def _tool_call(self, choice: int, index: int, name: str, arguments: str = "") -> Json:
        return {
            "index": index,
            "id": f"call_{call_key(self.request.key, choice, index)}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
