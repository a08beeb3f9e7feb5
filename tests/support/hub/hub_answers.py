"""What a local hub answers with: files, ranges, JSON, and the record of what was sent.

Knows nothing of repositories, routes and kinds of faults.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Protocol

PIECE = 1 << 16
LFS_SUFFIXES = (".safetensors", ".gguf", ".bin")
LFS_OVER = 10_000_000
STOP_S = 5.0
DRAIN_S = 0.05  # what was sent before a reset should arrive
Ending = Literal["keep", "close", "reset", "stall"]


class Blob:
    """A file's content, in memory or on disk.

    On disk it is read as it is sent, and may be sparse. A digest that is given is believed.
    """

    def __init__(self, name: str, source: bytes | Path, sha256: str | None = None) -> None:
        self.source = source
        self.size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self.lfs = name.endswith(LFS_SUFFIXES) or self.size > LFS_OVER
        if sha256 is not None:
            self.sha256 = sha256

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the content."""
        return self._digest(hashlib.sha256())

    @cached_property
    def blob_id(self) -> str:
        """What git calls it: the SHA-1 of the file, or of the pointer that stands for it in git."""
        if self.lfs:
            return hashlib.sha1(b"blob %d\0" % len(self.pointer) + self.pointer).hexdigest()
        return self._digest(hashlib.sha1(b"blob %d\0" % self.size))

    @property
    def pointer(self) -> bytes:
        """Return the LFS pointer that stands for the file in git."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize"
            f" {self.size}\n"
        ).encode()

    @property
    def etag(self) -> str:
        """Return the ETag that the hub gives."""
        return f'"{self.sha256 if self.lfs else self.blob_id}"'

    @property
    def stamp(self) -> str:
        """The ETag that a plain web server gives it."""
        since = (
            zlib.crc32(self.source)
            if isinstance(self.source, bytes)
            else self.source.stat().st_mtime_ns
        )
        return f'"{since:x}-{self.size:x}"'

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the content from ``start`` to ``stop``."""
        stop = self.size if stop is None else stop
        if isinstance(self.source, bytes):
            for at in range(start, stop, PIECE):
                yield self.source[at : min(at + PIECE, stop)]
            return
        with self.source.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(PIECE, stop - start))):
                yield piece
                start += len(piece)

    def _digest(self, algorithm: hashlib._Hash) -> str:
        for piece in self.pieces():
            algorithm.update(piece)
        return algorithm.hexdigest()


@dataclass(frozen=True)
class Answer:
    """What goes out.

    ``length`` is what Content-Length says, whatever ``body`` really holds; None for a chunked body.
    """

    method: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    length: int | None = 0
    start: int = 0  # where in the file the body begins
    blob: Blob | None = None  # the file that the body is of
    value: Any = None  # the JSON value that the body is
    silent: bool = False  # not even a status line goes out
    ending: Ending = "keep"
    rate: float | None = None  # bytes per second

    @property
    def carries(self) -> bool:
        """Whether it has a body that was asked for, of a file or of the API."""
        return self.method == "GET" and self.status in (200, 206)


class Refusal(Exception):
    """A request that the hub refuses, with a status and headers."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers = (
            ({"X-Error-Code": code} if code else {}) | {"X-Error-Message": message} | named
        )


def json_answer(method: str, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with ``value`` as JSON."""
    text = json.dumps(value).encode()
    return Answer(
        method,
        200,
        {"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        [text],
        len(text),
        value=value,
    )


def redirect(
    method: str, status: int, location: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return a redirect with a few words in the body, as the hub has them.

    Its Content-Length is not that of the file.
    """
    text = f"Redirecting to {location}".encode()
    return Answer(
        method,
        status,
        {"Content-Type": "text/plain", **(headers or {}), "Location": location},
        [text],
        len(text),
    )


def file_answer(
    blob: Blob, etag: str, method: str, headers: Mapping[str, str], **more: str
) -> Answer:
    """A file or the range of it that was asked for."""
    said = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    said |= {name.replace("_", "-"): value for name, value in more.items()}
    first, dash, last = headers.get("range", "").removeprefix("bytes=").partition("-")
    if not dash or not (first + last).isdigit() or headers.get("if-range", etag) != etag:
        return Answer(method, 200, said, blob.pieces(), blob.size, blob=blob)
    start = int(first) if first else max(0, blob.size - int(last))
    stop = min(int(last) + 1, blob.size) if first and last else blob.size
    if start >= stop:
        raise Refusal(416, "", "Range Not Satisfiable", Content_Range=f"bytes */{blob.size}")
    said["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
    return Answer(method, 206, said, blob.pieces(start, stop), stop - start, start, blob)


def tree_entries(
    files: Mapping[str, Blob], folder: str, *, recursive: bool
) -> Iterator[dict[str, Any]]:
    """Return a folder's entries as the tree shows them.

    Folders are among them, also where what is in them is listed.
    """
    prefix, folders = f"{folder}/" if folder else "", set[str]()
    for name, blob in sorted(files.items()):
        if not name.startswith(prefix):
            continue
        parts = name.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            inner = prefix + "/".join(parts[:depth])
            if inner not in folders:
                yield {
                    "type": "directory",
                    "oid": hashlib.sha1(inner.encode()).hexdigest(),
                    "size": 0,
                    "path": inner,
                }
                folders.add(inner)
        if recursive or len(parts) == 1:
            linked = (
                {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}}
                if blob.lfs
                else {}
            )
            yield {"type": "file", "oid": blob.blob_id, "size": blob.size, "path": name, **linked}


@dataclass
class Exchange:
    """A request and what became of it.

    ``sent`` grows as the body goes out, by pieces that may still be in the system's buffers.
    """

    method: str
    path: str
    query: str
    origin: str  # hub or cdn
    headers: Mapping[str, str]  # of the request, names in lower case
    repo: str
    file: str
    status: int  # 0: nothing was answered
    range: (
        tuple[int, int] | None
    )  # of the body within the file, where a part was asked for and is answered
    fault: str
    sent: int = 0
    start: int = 0
    blob: Blob | None = None

    @property
    def authorized(self) -> bool:
        """Whether an Authorization header came, good or bad."""
        return "authorization" in self.headers


def deliveries(exchanges: Sequence[Exchange]) -> int:
    """How often the byte was sent that was sent least."""
    size = exchanges[0].blob.size if exchanges[0].blob else 0
    if not size:
        return len(exchanges)
    spans = [(exchange.start, min(exchange.start + exchange.sent, size)) for exchange in exchanges]
    edges = {0} | {edge for span in spans for edge in span if edge < size}
    return min(sum(start <= edge < stop for start, stop in spans) for edge in edges)


class Answering(Protocol):
    """Whoever knows what a request gets."""

    stopping: threading.Event
    errors: list[BaseException]

    def answer(
        self, origin: str, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[Answer, Exchange]: ...


class Listener(ThreadingHTTPServer):
    """One origin. Ends every connection when it stops, so that no thread and no socket is left."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: Answering, origin: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.hub, self.origin = hub, origin
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and remember it."""
        connection, address = super().get_request()
        with self._changed:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        lingers, _ = struct.unpack("ii", request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if not lingers:  # else closing it is what resets it
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_WR)
        self.close_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep errors for the test, other than those of clients that leave."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.hub.errors.append(error)

    def stop(self) -> None:
        """Stop listening, and close all connections."""
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, STOP_S)


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        """Answer a request, and record what became of it."""
        hub = self.server.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer, exchange = hub.answer(self.server.origin, self.command, self.path, headers)
        if not answer.silent:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header(
                *(
                    ("Transfer-Encoding", "chunked")
                    if answer.length is None
                    else ("Content-Length", str(answer.length))
                )
            )
            self.end_headers()
        if self.command == "GET" and not answer.silent:
            self._send_body(answer, exchange)
        self.close_connection = self.close_connection or answer.ending != "keep"
        if answer.ending == "stall":
            self.connection.recv(
                1, socket.MSG_PEEK
            )  # until the client has enough, or the hub stops
        elif answer.ending == "reset":
            hub.stopping.wait(DRAIN_S)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    do_HEAD = do_GET

    def _send_body(self, answer: Answer, exchange: Exchange) -> None:
        step = PIECE if answer.rate is None else max(1, int(answer.rate / 50))
        for whole in answer.body:
            for piece in (whole[at : at + step] for at in range(0, len(whole), step)):
                framed = (
                    piece if answer.length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
                )
                exchange.sent += len(
                    piece
                )  # before it goes: who has received it must find it counted
                self._send(framed, exchange)
                if answer.rate is not None:
                    self.server.hub.stopping.wait(len(piece) / answer.rate)
        if answer.length is None and answer.ending == "keep":
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, data: bytes, exchange: Exchange) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self.connection.send(left) :]
        except OSError:
            exchange.sent -= min(len(left), exchange.sent)
            raise

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""
        pass
