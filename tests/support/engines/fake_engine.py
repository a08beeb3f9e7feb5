"""A small engine on this machine that speaks as vLLM, SGLang, llama-server or DeepSeek's API do.

It keeps every request, and answers each one for tokens with the next of its replies: what the test
wrote, in the engine's own spelling, or some fault.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dslocal.engine import LlamaModel

Json = dict[str, Any]
GENERATE = {
    "vllm": "/v1/completions",
    "sglang": "/generate",
    "llamacpp": "/completion",
    "deepseek": "/chat/completions",
}
N_CTX = 4096


@dataclass(frozen=True)
class Tokens:
    """An answer: these ids, then the engine's own end.

    Attributes:
        ids: The tokens.
        finish: ``stop`` or ``length``.
        top: Likeliest tokens with their logprobs at each place, where the request asks for them.
        cached: How many tokens of the prompt were cached.
        cut_after: How many tokens come before the connection is cut; None for all.
        half_line: Whether half an event comes before the cut.
        pause_s: Before each token.
        held_back: All events come at once after this was called, as through a proxy that buffers.
    """

    ids: Sequence[int]
    finish: str = "stop"
    top: tuple[tuple[int, float], ...] = ()
    cached: int = 0
    cut_after: int | None = None
    half_line: bool = False
    pause_s: float = 0.0
    held_back: Callable[[], object] | None = None


@dataclass(frozen=True)
class Status:
    """A response that is an error."""

    code: int
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Raw:
    """A response of 200 whose body is these pieces; ``hangs`` keeps the connection open then."""

    pieces: Sequence[bytes] | Callable[[], Iterator[bytes]]
    hangs: bool = False
    media_type: str = "text/event-stream"


Reply = Tokens | Status | Raw


@dataclass
class Sent:
    """A request that came."""

    path: str
    body: Json
    headers: dict[str, str]


@dataclass
class FakeEngine:
    """An engine at ``url``. Use it as a context manager.

    Attributes:
        vocabulary: Tokenizes for it.
        kind: ``vllm``, ``sglang``, ``llamacpp`` or ``deepseek``, as ``owned_by`` says.
        name: What it calls its model.
        replies: What it answers requests for tokens with, one after the other; the last one again
            and again.
        listing: What it lists as its models in place of its own one.
        tokenize: Returns the ids of a text; None for the vocabulary's.
        key: What it asks for; empty for nothing.
        sent: All requests that came.
        dropped: How many connections were closed before their reply was whole.
        facts: What it says of its model in place of, or besides, the usual.
        n_ctx: The tokens of its context.
    """

    vocabulary: LlamaModel
    kind: str = "vllm"
    name: str = "nano"
    replies: list[Reply] = field(default_factory=list)
    listing: list[Json] | None = None
    tokenize: Callable[[str], list[int]] | None = None
    key: str = ""
    sent: list[Sent] = field(default_factory=list)
    dropped: int = 0
    facts: Json = field(default_factory=dict)
    n_ctx: int = N_CTX

    def __enter__(self) -> FakeEngine:
        engine = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing: connections are cut on purpose."""

        class Handler(_Handler):
            fake = engine

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def generated(self) -> list[Json]:
        """The bodies of all requests for tokens."""
        return [sent.body for sent in self.sent if sent.path == GENERATE[self.kind]]

    def prompt(self, place: int = -1) -> list[int]:
        """Return the token ids that a request for tokens had."""
        body = self.generated[place]
        found: list[int] = body["input_ids" if self.kind == "sglang" else "prompt"]
        return found

    def models(self) -> list[Json]:
        if self.listing is not None:
            return self.listing
        entry: Json = {"id": self.name, "object": "model", "owned_by": self.kind}
        if self.kind == "llamacpp":
            entry["meta"] = {"n_vocab": self.vocabulary.n_vocab, "n_ctx": self.n_ctx}
        else:
            entry |= {"root": self.name, "max_model_len": self.n_ctx}
        return [entry | self.facts]

    def ids_of(self, text: str) -> list[int]:
        """Tokenize as engines do: special tokens are found in the text."""
        if self.tokenize is not None:
            return self.tokenize(text)
        specials = self.vocabulary.header.tokens()
        ids: list[int] = []
        plain = ""
        while text:
            known = [
                token
                for token in specials
                if token and self.vocabulary.special_id(token) is not None
                and text.startswith(token)
            ]  # fmt: skip
            if not known:
                plain, text = plain + text[0], text[1:]
                continue
            longest = max(known, key=len)
            ids += self.vocabulary.encode(plain) if plain else []
            special = self.vocabulary.special_id(longest)
            assert special is not None
            ids.append(special)
            plain, text = "", text[len(longest) :]
        return ids + (self.vocabulary.encode(plain) if plain else [])

    def next_reply(self, body: Json) -> Reply:
        """Return the reply to a request for tokens."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeEngine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._keep({})
        fake = self.fake
        if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
            self._json({"error": {"message": f"wrong key {fake.key}"}}, 401)
        elif self.path == "/v1/models":
            self._json({"object": "list", "data": fake.models()})
        elif self.path == "/props" and fake.kind == "llamacpp":
            settings = {"n_ctx": fake.n_ctx}
            self._json({"default_generation_settings": settings, "total_slots": 2})
        elif self.path == "/get_model_info" and fake.kind == "sglang":
            place = fake.facts.get("root", fake.name)
            self._json({"model_path": place, "tokenizer_path": place})
        else:
            self._json({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._keep(body)
        if self.path == "/tokenize":
            text = body["content"] if self.fake.kind == "llamacpp" else body["prompt"]
            self._json({"tokens": self.fake.ids_of(text)})
        elif self.path.removeprefix("/beta") == GENERATE[self.fake.kind]:
            try:
                self._reply(self.fake.next_reply(body), body)
            except OSError:
                self.fake.dropped += 1
                self.close_connection = True
        else:
            self._json({"detail": "Not Found"}, 404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _keep(self, body: Json) -> None:
        self.fake.sent.append(Sent(self.path, body, dict(self.headers.items())))

    def _json(self, content: Any, code: int = 200) -> None:
        self._whole(code, json.dumps(content).encode(), ())

    def _whole(self, code: int, data: bytes, headers: Sequence[tuple[str, str]]) -> None:
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reply(self, reply: Reply, body: Json) -> None:
        if isinstance(reply, Status):
            self._whole(reply.code, reply.body, reply.headers)
            return
        self.send_response(200)
        media_type = reply.media_type if isinstance(reply, Raw) else "text/event-stream"
        self.send_header("Content-Type", media_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if isinstance(reply, Raw):
            for piece in reply.pieces() if callable(reply.pieces) else reply.pieces:
                self._chunk(piece)
            while reply.hangs:
                time.sleep(0.02)
                self._chunk(b": still here\n\n")
            self._chunk(b"")
            return
        events = list(events_of(self.fake.kind, reply, body))
        if reply.held_back is not None:
            reply.held_back()
            self._chunk(b"".join(events))
            self._chunk(b"")
            return
        for place, event in enumerate(events):
            time.sleep(reply.pause_s)
            if place == reply.cut_after:
                if reply.half_line:
                    self._chunk(event[: len(event) // 2])
                self.close_connection = True
                self.connection.close()
                return
            self._chunk(event)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def events_of(kind: str, reply: Tokens, body: Json) -> Iterator[bytes]:
    """Yield the events of an answer as an engine of that kind spells them."""
    prompt = len(body.get("input_ids") or body.get("prompt") or [])
    make = {"vllm": _vllm, "sglang": _sglang, "llamacpp": _llama_server}[kind]
    yield from make(reply, body, prompt)
    if kind != "llamacpp":
        yield b"data: [DONE]\n\n"


def _event(content: Json) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


def _vllm(reply: Tokens, body: Json, prompt: int) -> Iterator[bytes]:
    for place, id in enumerate(reply.ids):
        is_last = place == len(reply.ids) - 1
        choice: Json = {"index": 0, "text": "x", "token_ids": [id], "logprobs": None}
        choice["finish_reason"] = reply.finish if is_last else None
        if "logprobs" in body:
            tops = {f"token_id:{top}": logprob for top, logprob in reply.top}
            choice["logprobs"] = {
                "tokens": [f"token_id:{id}"],
                "token_logprobs": [-0.5],
                "top_logprobs": [tops],
                "text_offset": [0],
            }
        event: Json = {"id": "cmpl-1", "object": "text_completion", "choices": [choice]}
        if body.get("stream_options", {}).get("continuous_usage_stats"):
            event["usage"] = {"prompt_tokens": prompt, "completion_tokens": place + 1}
        yield _event(event)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(reply.ids),
        "prompt_tokens_details": {"cached_tokens": reply.cached},
    }
    yield _event({"id": "cmpl-1", "choices": [], "usage": usage})


def _sglang(reply: Tokens, body: Json, prompt: int) -> Iterator[bytes]:
    for count in range(1, len(reply.ids) + 1):
        is_last = count == len(reply.ids)
        about: Json = {
            "id": "1",
            "finish_reason": {"type": reply.finish} if is_last else None,
            "prompt_tokens": prompt,
            "completion_tokens": count,
            "cached_tokens": reply.cached,
        }
        if body.get("return_logprob"):
            about["output_token_logprobs"] = [[-0.5, id, None] for id in reply.ids[:count]]
            tops = [[logprob, id, None] for id, logprob in reply.top]
            about["output_top_logprobs"] = [tops] * count
        yield _event(
            {"text": "x" * count, "output_ids": list(reply.ids[:count]), "meta_info": about}
        )


def _llama_server(reply: Tokens, body: Json, prompt: int) -> Iterator[bytes]:
    progress = {"total": prompt, "cache": reply.cached, "processed": prompt, "time_ms": 1}
    begin = {"index": 0, "content": "", "tokens": [0], "stop": False, "tokens_predicted": 0}
    yield _event({**begin, "prompt_progress": progress})
    for place, id in enumerate(reply.ids):
        event: Json = {"index": 0, "content": "x", "tokens": [id], "stop": False}
        event["tokens_predicted"] = place + 1
        if "n_probs" in body:
            tops = [{"id": top, "token": "x", "logprob": logprob} for top, logprob in reply.top]
            entry = {"id": id, "token": "x", "logprob": -0.5, "top_logprobs": tops}
            event["completion_probabilities"] = [entry]
        yield _event(event)
    end = {
        "index": 0,
        "content": "",
        "tokens": [],
        "stop": True,
        "tokens_predicted": len(reply.ids),
    }
    kinds = {"stop": "eos", "length": "limit"}
    yield _event({**end, "stop_type": kinds[reply.finish], "timings": {"cache_n": reply.cached}})
