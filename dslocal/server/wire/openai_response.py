"""What chat and text completions have in common as responses, whole and in chunks.

Knows turns and events, and not how they are generated.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent

from .encoding import DONE, sse_event
from .stream_format import EventStreamFormat

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.server.preparation.prepared_request import PreparedRequest
    from dslocal.server.preparation.requests import ServedModel

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
    """What responses say about the model, and the model itself for the text of tokens.

    Attributes:
        model: The model.
        name: The name that it is served by.
        fingerprint: Names its file.
        created: Seconds since 1970.
    """

    model: LlamaModel
    name: str
    fingerprint: str
    created: int


def response_head(served: ServedModel) -> ResponseHead:
    """Return what responses of a model say about it, now."""
    return ResponseHead(
        model=served.context.model,
        name=served.name,
        fingerprint=f"dslocal-{served.fingerprint[:12]}",
        created=int(time.time()),
    )


class Chunk(NamedTuple):
    """What a stream says about one answer at one time."""

    choice: int
    delta: Json
    finish_reason: str | None = None
    logprobs: Json | None = None
    turn: output.Turn | None = None  # once it has ended


def remarks_json(turn: output.Turn | None) -> Json:
    """Return the fields that say why an answer is empty, and that it repeats itself without end."""
    found = {"no_answer": turn.no_answer, "warning": turn.warning} if turn else {}
    return {name: remark for name, remark in found.items() if remark}


class OpenAiResponse(EventStreamFormat, ABC):
    """The response to one request, whole or in chunks."""

    id_prefix: str
    object_name: str
    chunk_object_name: str

    def __init__(
        self, requests: Sequence[PreparedRequest], head: ResponseHead, *, has_usage: bool = False
    ) -> None:
        """Respond to ``requests``; a stream ends with a usage chunk if it ``has_usage``."""
        self.request = requests[0]
        self.head = head
        # the request of every answer
        self._asked = [request for request in requests for _ in range(request.n)]
        self.id = f"{self.id_prefix}-{requests[0].key}"
        self._has_usage = has_usage
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

    def end(self) -> bytes:
        """Return the end of a stream; before it the usage in a chunk that has no choices."""
        if not self._has_usage:
            return DONE
        head = self._head_json(self.chunk_object_name)
        usage = {"choices": [], "usage": self._usage(), "seed": self.request.seed}
        return sse_event({**head, **usage}) + DONE

    def _chunk_for(self, event: RunEvent) -> Chunk | None:
        if isinstance(event, AnswerEnd):
            self.turns[event.choice] = event.turn
            reason = self._finish_reason(event.turn)
            return Chunk(event.choice, {}, reason, turn=event.turn)
        delta = self._delta(event)
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
            "created": self.head.created,
            "model": self.head.name,
            "system_fingerprint": self.head.fingerprint,
        }

    @abstractmethod
    def _opening_deltas(self, choice: int) -> list[Json]:
        """Return what the first chunks of an answer have."""

    @abstractmethod
    def _delta(self, event: AnswerPart) -> Json | None:
        """Return what a chunk has for a part; None where nothing is sent."""

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
