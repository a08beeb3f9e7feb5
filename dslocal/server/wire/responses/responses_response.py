"""The response to a Responses request: one object of items, or events that lead up to it.

Source of the events and their order:
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent
from dslocal.server.wire.encoding import KEEP_ALIVE, named_event
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.logprobs import chat_logprobs
from dslocal.server.wire.openai_response import usage_of
from dslocal.server.wire.stream_format import SSE

from .output_items import ItemWriter, custom_input, reasoning_part, text_part
from .request import seals_reasoning, tool_names
from .schemas import ResponsesRequest

if TYPE_CHECKING:
    from dslocal.server.preparation.prepared_request import PreparedRequest
    from dslocal.server.wire.openai_response import ResponseHead

Json = dict[str, Any]
# What a response repeats of its request, and what it has where the request does not say.
REPEATED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
}


@dataclass
class _OpenItem:
    """The item whose content is coming.

    Attributes:
        kind: What it is: ``reasoning``, ``message`` or ``call``.
        item: The item without its content.
        number: Which call it is.
        name: The name of its tool in the prompt.
        content: Its text or arguments so far.
        logprobs: Those of its text.
    """

    kind: str
    item: Json
    number: int = 0
    name: str = ""
    content: str = ""
    logprobs: list[Json] = field(default_factory=list)


class ResponsesResponse:
    """The response to one request, whole or as a stream."""

    media_type = SSE
    keep_alive = KEEP_ALIVE

    def __init__(
        self,
        requests: Sequence[PreparedRequest],
        head: ResponseHead,
        sent: ResponsesRequest,
        on_end: Callable[[Json], None],
    ) -> None:
        """Respond to the only one of ``requests``.

        Args:
            requests: The request, prepared.
            head: What is said about the model.
            sent: The request as it was sent.
            on_end: Called with the response once it is whole.
        """
        self._request = requests[0]
        self._head = head
        self._on_end = on_end
        self._writer = ItemWriter(
            self._request.key, tool_names(sent), is_sealed=seals_reasoning(sent)
        )
        dumped = sent.model_dump(by_alias=True, exclude_unset=True)
        repeated = {key: dumped.get(key) for key in REPEATED}
        self._repeated = {
            key: REPEATED[key] if value is None else value for key, value in repeated.items()
        }
        self._events = 0  # how many were sent
        self._items: list[Json] = []
        self._open: _OpenItem | None = None
        self._logprobs: list[Json] = []
        self._turn: output.Turn | None = None

    def chunks(self, events: Sequence[RunEvent]) -> Iterator[bytes]:
        """Yield what is sent for ``events``."""
        for event in events:
            if not self._events:
                response = self._response_json("in_progress", [], None)
                yield self._event("response.created", response=response)
                yield self._event("response.in_progress", response=response)
            if isinstance(event, AnswerEnd):
                yield from self._close_item()
                yield self._last(event.turn)
            else:
                yield from self._part(event)

    def end(self) -> bytes:
        """Return nothing: the last event ends the stream."""
        return b""

    def error(self, error: ApiError) -> bytes:
        """Return the event that ends a stream which fails."""
        response = self._response_json("failed", self._items, None)
        code = error.code or "server_error"
        failed = {**response, "error": {"code": code, "message": error.message}}
        return self._event("response.failed", response=failed)

    def collect(self, events: Sequence[RunEvent]) -> None:
        """Take in ``events`` of a response that is sent whole."""
        for event in events:
            if isinstance(event, AnswerEnd):
                self._turn = event.turn
            elif isinstance(event.part, output.Text):
                self._logprobs += self._part_logprobs(event)

    def body(self) -> Json:
        """Return the whole response."""
        if self._turn is None:
            return self._response_json("incomplete", [], None)
        items = self._writer.items(self._turn, self._logprobs)
        response = self._response_json(_status(self._turn), items, self._turn)
        self._on_end(response)
        return response

    def _last(self, turn: output.Turn) -> bytes:
        status = _status(turn)
        response = self._response_json(status, self._items, turn)
        self._on_end(response)
        return self._event(f"response.{status}", response=response)

    def _part(self, event: AnswerPart) -> Iterator[bytes]:
        match event.part:
            case output.Reasoning(text):
                yield from self._open_item("reasoning")
                yield self._delta("response.reasoning_text.delta", text, content_index=0)
            case output.Text(text):
                yield from self._open_item("message")
                logprobs = self._part_logprobs(event)
                if self._open is not None:
                    self._open.logprobs += logprobs
                yield self._delta(
                    "response.output_text.delta", text, content_index=0, logprobs=logprobs
                )
            case output.ToolCallStarted(index, name):
                yield from self._close_item()
                item = self._writer.call(len(self._items), index, name, None)
                yield from self._add_item(_OpenItem("call", item, index, name))
            case output.ToolCallArguments(_, text) if self._open is not None:
                if self._writer.is_custom(self._open.name):
                    self._open.content += text  # is sent when it is whole, unwrapped
                else:
                    yield self._delta("response.function_call_arguments.delta", text)

    def _open_item(self, kind: str) -> Iterator[bytes]:
        """Open an item of reasoning or text, after the one before, unless it is open."""
        if self._open is not None and self._open.kind == kind:
            return
        yield from self._close_item()
        index = len(self._items)
        if kind == "reasoning":
            yield from self._add_item(_OpenItem(kind, self._writer.reasoning(index, None)))
            part = reasoning_part("")
        else:
            yield from self._add_item(_OpenItem(kind, self._writer.message(index, None, [])))
            part = text_part("", [])
        yield self._item_event("response.content_part.added", content_index=0, part=part)

    def _add_item(self, opened: _OpenItem) -> Iterator[bytes]:
        self._open = opened
        yield self._event(
            "response.output_item.added", output_index=len(self._items), item=opened.item
        )

    def _close_item(self) -> Iterator[bytes]:
        opened = self._open
        if opened is None:
            return
        index, content = len(self._items), opened.content
        if opened.kind == "reasoning":
            item = self._writer.reasoning(index, content)
            yield self._item_event("response.reasoning_text.done", content_index=0, text=content)
            part = reasoning_part(content)
            yield self._item_event("response.content_part.done", content_index=0, part=part)
        elif opened.kind == "message":
            item = self._writer.message(index, content, opened.logprobs)
            yield self._item_event(
                "response.output_text.done",
                content_index=0,
                text=content,
                logprobs=opened.logprobs,
            )
            part = text_part(content, opened.logprobs)
            yield self._item_event("response.content_part.done", content_index=0, part=part)
        else:
            item = self._writer.call(index, opened.number, opened.name, content)
            yield from self._end_call(opened, content)
        yield self._event("response.output_item.done", output_index=index, item=item)
        self._items.append(item)
        self._open = None

    def _end_call(self, opened: _OpenItem, arguments: str) -> Iterator[bytes]:
        if not self._writer.is_custom(opened.name):
            kind = "response.function_call_arguments.done"
            yield self._item_event(kind, arguments=arguments, name=opened.item["name"])
            return
        text = custom_input(arguments)
        yield self._item_event("response.custom_tool_call_input.delta", delta=text)
        yield self._item_event("response.custom_tool_call_input.done", input=text)

    def _delta(self, kind: str, text: str, **fields: Any) -> bytes:
        if self._open is not None:
            self._open.content += text
        return self._item_event(kind, **fields, delta=text)

    def _item_event(self, kind: str, **fields: Any) -> bytes:
        """Return an event about the open item."""
        item_id = self._open.item["id"] if self._open is not None else ""
        return self._event(kind, item_id=item_id, output_index=len(self._items), **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._events
        self._events += 1
        return named_event({"type": kind, "sequence_number": number, **fields})

    def _part_logprobs(self, event: AnswerPart) -> list[Json]:
        if self._request.top_logprobs is None:
            return []
        return [chat_logprobs(entry, self._head.model) for entry in event.logprobs]

    def _response_json(self, status: str, items: Sequence[Json], turn: output.Turn | None) -> Json:
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_{self._request.key}",
            "object": "response",
            "created_at": self._head.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": incomplete,
            "model": self._head.name,
            "output": list(items),
            **self._repeated,
            "usage": _usage(turn) if turn else None,
            "user": None,
            **({"warning": turn.warning} if turn and turn.warning else {}),
        }


def _status(turn: output.Turn) -> str:
    return "incomplete" if turn.is_cut else "completed"


def _usage(turn: output.Turn) -> Json:
    counted = usage_of([turn], [turn])
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": counted["prompt_tokens_details"],
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": counted["completion_tokens_details"],
        "total_tokens": counted["total_tokens"],
    }
