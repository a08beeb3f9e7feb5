"""Transcripts of every format: what a request asks for, and what is sent for the same events.

The events, ids and times are fixed, so that a transcript is the same byte for byte everywhere.
``python transcripts.py`` rewrites the files of ``tests/server/transcripts``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pprint import pformat
from typing import Any

from dslocal import output, prompts
from dslocal.output.reasoning import AnswerEvent
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent
from dslocal.server.preparation.prepared_request import PreparedRequest
from dslocal.server.wire.anthropic.messages_response import MessagesResponse
from dslocal.server.wire.anthropic.request import hides_thinking, read_messages
from dslocal.server.wire.anthropic.schemas import MessagesRequest
from dslocal.server.wire.chat.chat_response import ChatResponse
from dslocal.server.wire.chat.request import read_chat
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.completions.completion_response import CompletionResponse
from dslocal.server.wire.completions.request import read_completion
from dslocal.server.wire.completions.schemas import CompletionRequest
from dslocal.server.wire.encoding import json_bytes
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.ollama.ollama_response import OllamaChatResponse, OllamaGenerateResponse
from dslocal.server.wire.ollama.request import read_ollama_chat, read_ollama_generate
from dslocal.server.wire.ollama.schemas import OllamaChatRequest, OllamaGenerateRequest
from dslocal.server.wire.openai_response import ResponseHead
from dslocal.server.wire.request_parsing import parse_request
from dslocal.server.wire.responses.request import read_responses
from dslocal.server.wire.responses.responses_response import ResponsesResponse
from dslocal.server.wire.responses.schemas import ResponsesRequest
from dslocal.types import FinishReason, Timings

FOLDER = Path(__file__).parents[2] / "server" / "transcripts"
KEY = "00112233445566778899"
CREATED = 1_767_225_600  # 2026-01-01
ARGUMENTS = ('{"city": "Li', 'ma", "days": 2}')

REASONING: tuple[AnswerEvent, ...] = (output.Reasoning("I add "), output.Reasoning("31 and 57."))
TEXT: tuple[AnswerEvent, ...] = (output.Text("The sum"), output.Text(" is 88 – done."))
CALLS: tuple[AnswerEvent, ...] = (
    output.ToolCallStarted(0, "get_weather"),
    output.ToolCallArguments(0, ARGUMENTS[0]),
    output.ToolCallArguments(0, ARGUMENTS[1]),
    output.ToolCallStarted(1, "get_time"),
    output.ToolCallArguments(1, "{}"),
)
CUT: tuple[AnswerEvent, ...] = (
    output.ToolCallStarted(0, "get_weather"),
    output.ToolCallArguments(0, ARGUMENTS[0]),
)


@dataclass(frozen=True)
class Story:
    """An answer: its events, and how it ended."""

    events: tuple[AnswerEvent, ...]
    reason: FinishReason = FinishReason.STOP
    stop_text: str | None = None
    error: ApiError | None = None


STORIES = {
    "text": Story((*REASONING, *TEXT)),
    "calls": Story((*REASONING, *TEXT, *CALLS)),
    "cut": Story((*REASONING, *CUT), FinishReason.LENGTH),
    "stop": Story(TEXT, stop_text="END"),
    "empty": Story(()),
    "error": Story(REASONING, error=ApiError(503, "the server is stopping", code="stopping")),
}


@dataclass(frozen=True)
class Format:
    """A format: its schema, what reads a request, and what writes a response."""

    schema: Any
    read: Callable[[Any], Any]
    respond: Callable[[Sequence[PreparedRequest], ResponseHead, Any], Any]


def nowhere(response: Any) -> None:
    """Keep no response."""


def chat(requests: Sequence[PreparedRequest], head: ResponseHead, sent: Any) -> ChatResponse:
    functions = bool(sent.functions)
    return ChatResponse(requests, head, has_usage=True, uses_functions=functions)


def messages(requests: Sequence[PreparedRequest], head: ResponseHead, sent: Any) -> Any:
    return MessagesResponse(requests, head, hides_thinking=hides_thinking(sent))


FORMATS = {
    "chat": Format(ChatRequest, read_chat, chat),
    "completions": Format(
        CompletionRequest,
        read_completion,
        lambda requests, head, sent: CompletionResponse(requests, head),
    ),
    "anthropic": Format(MessagesRequest, read_messages, messages),
    "responses": Format(
        ResponsesRequest,
        partial(read_responses, history=()),
        lambda requests, head, sent: ResponsesResponse(requests, head, sent, nowhere),
    ),
    "ollama_chat": Format(
        OllamaChatRequest,
        read_ollama_chat,
        lambda requests, head, sent: OllamaChatResponse(requests, head, "nano:latest"),
    ),
    "ollama_generate": Format(
        OllamaGenerateRequest,
        read_ollama_generate,
        lambda requests, head, sent: OllamaGenerateResponse(requests, head, "nano:latest"),
    ),
}


def task_text(name: str, body: bytes) -> str:
    """Return what a request asks for, and what of it is not obeyed, as text."""
    form = FORMATS[name]
    parsed = parse_request(form.schema, body)
    ignored = "".join(f"ignored {field.name}: {field.reason}\n" for field in parsed.ignored)
    return f"{pformat(form.read(parsed.sent), width=100)}\n{ignored}"


def response_of(name: str, body: bytes) -> Any:
    """Return what writes the response to a request, with a fixed id and time."""
    form = FORMATS[name]
    sent = parse_request(form.schema, body).sent
    family = prompts.FAMILIES["nano"]
    prepared = PreparedRequest(
        family=family, prompt=(), settings=family.defaults, seed=7, ids=range(40), key=KEY
    )
    head = ResponseHead(model=None, name="nano", fingerprint="dslocal-0", created=CREATED)  # type: ignore[arg-type]
    return form.respond([prepared], head, sent)


def run_events(story: Story) -> Iterator[RunEvent]:
    """Yield the events of a story."""
    turn = output.Turn(40, cached_tokens=8, completion_tokens=30, reasoning_tokens=10, seed=7)
    turn.timings = Timings(prefill=0.5, decode=1.5, ttft=0.6)
    for event in story.events:
        turn.add(event)
        yield AnswerPart(0, event, sure=True)
    if story.error is None:
        turn.finish_reason = story.reason
        turn.stop_text = story.stop_text
        yield AnswerEnd(0, turn)


def stream(name: str, body: bytes, story: Story) -> bytes:
    """Return the bytes of a stream."""
    response = response_of(name, body)
    sent = b"".join(response.chunks(list(run_events(story))))
    last: bytes = response.error(story.error) if story.error else response.end()
    return sent + last


def whole(name: str, body: bytes, story: Story) -> bytes:
    """Return the body of a whole response."""
    response = response_of(name, body)
    response.collect(list(run_events(story)))
    return json_bytes(response.body())


def requests_of(name: str) -> list[Path]:
    """Return the requests of a format, of which the first is answered with every story."""
    return sorted((FOLDER / name).glob("*.request.json"))


def transcripts() -> Iterator[tuple[Path, bytes]]:
    """Yield every file but the requests, and what is to be in it."""
    for name in FORMATS:
        for path in requests_of(name):
            stem = path.name.removesuffix(".request.json")
            yield path.with_name(f"{stem}.task.txt"), task_text(name, path.read_bytes()).encode()
        body = requests_of(name)[0].read_bytes()
        for title, story in STORIES.items():
            yield FOLDER / name / f"{title}.stream.txt", stream(name, body, story)
            if story.error is None:
                yield FOLDER / name / f"{title}.whole.json", whole(name, body, story) + b"\n"


if __name__ == "__main__":
    for path, content in transcripts():
        path.write_bytes(content)
    sys.stdout.write(json.dumps({name: len(requests_of(name)) for name in FORMATS}) + "\n")
