"""The response to a completion request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal import output
from dslocal.server.exchange.events import AnswerPart
from dslocal.server.wire.encoding import sse_event
from dslocal.server.wire.logprobs import completion_logprobs
from dslocal.server.wire.openai_response import Chunk, Json, OpenAiResponse, remarks_json

if TYPE_CHECKING:
    from dslocal.server.preparation.prepared_request import PreparedRequest


class CompletionResponse(OpenAiResponse):
    """The response to a completion request."""

    id_prefix = "cmpl"
    object_name = chunk_object_name = "text_completion"

    def _opening_deltas(self, choice: int) -> list[Json]:
        echo = self._asked[choice].echo
        return [{"text": echo}] if echo else []

    def _delta(self, event: AnswerPart) -> Json | None:
        part = event.part
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
            **remarks_json(chunk.turn),
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
            **remarks_json(turn),
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
