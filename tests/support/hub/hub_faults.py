"""Every way in which a local hub's answer goes wrong.

Knows nothing of repositories, routes and sockets. A kind of fault is a function that takes the
right answer and returns the wrong one, or None when it is about something that this answer does not
have: a cut after 10 bytes waits for an answer with a body. Its keywords are the parameters of
``hub.fault``.
"""

from __future__ import annotations

import gzip as gzip_format
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from support.hub.hub_answers import PIECE, Answer, Ending, redirect

BATCH = 1000


def _first(body: Iterable[bytes], count: int) -> Iterator[bytes]:
    for piece in body:
        yield piece[:count]
        count -= len(piece)
        if count <= 0:
            return


def _broken(ending: Ending, answer: Answer, /, *, at: int | None = None) -> Answer | None:
    """Ends after ``at`` bytes of body; by default before a single byte, with no status line."""
    if at is None:
        return replace(answer, silent=True, body=(), ending=ending)
    return replace(answer, body=_first(answer.body, at), ending=ending) if answer.carries else None


def _slow(answer: Answer, /, *, rate: float) -> Answer | None:
    return replace(answer, rate=rate) if answer.carries else None


def _status(
    answer: Answer,
    /,
    *,
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    retry_after: int | str | None = None,
    ratelimit: int | None = None,
) -> Answer:
    """Answer with a status.

    ``ratelimit`` is in how many seconds the hub's own rate limit headers say that there is more.
    """
    said = dict(headers or {})
    if retry_after is not None:
        said["Retry-After"] = str(retry_after)
    if ratelimit is not None:
        said |= {
            "RateLimit": f'"resolvers";r=0;t={ratelimit}',
            "RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300',
        }
    return Answer(answer.method, status, said, [body], len(body))


def _flip(answer: Answer, /, *, at: int) -> Answer | None:
    """The byte at offset ``at`` of the file is wrong. Waits for an answer that has this byte."""
    if (
        not answer.carries
        or answer.blob is None
        or not answer.start <= at < answer.start + (answer.length or 0)
    ):
        return None
    return replace(answer, body=_flipped(answer.body, at - answer.start))


def _flipped(body: Iterable[bytes], at: int) -> Iterator[bytes]:
    for piece in body:
        if 0 <= at < len(piece):
            yield piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
        else:
            yield piece
        at -= len(piece)


def _short(answer: Answer, /, *, by: int, honest: bool = False) -> Answer | None:
    """Never send the last ``by`` bytes.

    Content-Length counts them all the same, unless it is ``honest``.
    """
    if not answer.carries or answer.length is None:
        return None
    left = max(0, answer.length - by)
    body = _first(answer.body, left)
    return (
        replace(answer, body=body, length=left)
        if honest
        else replace(answer, body=body, ending="close")
    )


def _no_range(answer: Answer, /) -> Answer | None:
    """A range was asked for, and the whole file comes."""
    if not answer.carries or answer.status != 206 or answer.blob is None:
        return None
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
    return replace(
        answer,
        status=200,
        headers=headers,
        body=answer.blob.pieces(),
        length=answer.blob.size,
        start=0,
    )


def _chunked(answer: Answer, /, *, extra: int = 0) -> Answer | None:
    """No Content-Length; after the body ``extra`` bytes that do not belong to it."""
    garbage = (b"\xa5" * min(PIECE, extra - at) for at in range(0, extra, PIECE))
    return (
        replace(answer, body=itertools.chain(answer.body, garbage), length=None)
        if answer.carries
        else None
    )


def _gzip(answer: Answer, /) -> Answer | None:
    """Compressed and chunked, as the hub's front sends text to a client that takes gzip."""
    headers = {
        **answer.headers,
        "Content-Encoding": "gzip",
        "ETag": "W/" + answer.headers.get("ETag", '""'),
    }
    return (
        replace(answer, headers=headers, body=_zipped(answer.body), length=None)
        if answer.carries
        else None
    )


def _zipped(body: Iterable[bytes]) -> Iterator[bytes]:
    yield gzip_format.compress(b"".join(body))


def _length(answer: Answer, /, *, length: int) -> Answer | None:
    """Content-Length says ``length``; the body is as it is, and then the connection ends."""
    return (
        replace(answer, length=length, ending="close" if answer.method == "GET" else "keep")
        if answer.status in (200, 206)
        else None
    )


def _headers(answer: Answer, /, *, headers: Mapping[str, str | None]) -> Answer | None:
    """Other values for headers (None: left out). Waits for an answer that has one of them."""
    changed = {name.lower(): value for name, value in headers.items()}
    if not any(name.lower() in changed for name in answer.headers):
        return None
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in changed}
    return replace(
        answer, headers=kept | {name: value for name, value in headers.items() if value is not None}
    )


def _loop(answer: Answer, /) -> Answer:
    return redirect(answer.method, 302, "/loop")


def _body(answer: Answer, /, *, body: bytes) -> Answer | None:
    return replace(answer, body=[body], length=len(body), blob=None) if answer.carries else None


def _huge(answer: Answer, /, *, megabytes: int, chunked: bool = True) -> Answer | None:
    """JSON all right, an object with one text of so many MB."""
    head, tail = b'{"padding": "', b'"}'
    padding = itertools.repeat(b" " * 1_000_000, megabytes)
    length = len(head) + megabytes * 1_000_000 + len(tail)
    body = itertools.chain([head], padding, [tail])
    return (
        replace(answer, body=body, length=None if chunked else length, blob=None)
        if answer.carries
        else None
    )


def _listing(answer: Answer, /, *, entries: Iterable[Any]) -> Answer | None:
    """List ``entries``, whatever they are, as siblings or as the tree.

    They are encoded as they are sent.
    """
    if not answer.carries or not isinstance(answer.value, dict | list):
        return None
    head, tail = b"[", b"]"
    if isinstance(answer.value, dict):
        rest = {key: value for key, value in answer.value.items() if key != "siblings"}
        head, tail = json.dumps(rest).encode()[:-1] + b', "siblings": [', b"]}"
    return replace(
        answer, body=itertools.chain([head], _encoded(iter(entries)), [tail]), length=None
    )


def _encoded(entries: Iterator[Any]) -> Iterator[bytes]:
    comma = ""
    while batch := list(itertools.islice(entries, BATCH)):
        yield (comma + json.dumps(batch)[1:-1]).encode()
        comma = ", "


KINDS: Mapping[str, Callable[..., Answer | None]] = {
    "cut": partial(_broken, "close"),
    "reset": partial(_broken, "reset"),
    "stall": partial(_broken, "stall"),
    "slow": _slow,
    "status": _status,
    "flip": _flip,
    "short": _short,
    "no_range": _no_range,
    "chunked": _chunked,
    "gzip": _gzip,
    "length": _length,
    "headers": _headers,
    "loop": _loop,
    "body": _body,
    "huge": _huge,
    "listing": _listing,
}


@dataclass
class Fault:
    """One kind of fault that waits for the answers it is about."""

    pattern: str
    kind: str
    times: int | None  # None: from now on
    skip: int
    method: str
    origin: str
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}: {', '.join(KINDS)}")
        inspect.signature(KINDS[self.kind]).bind(None, **self.parameters)

    def strike(self, answer: Answer, origin: str, path: str, file: str) -> Answer | None:
        """Return the wrong answer, or None when this one is to stay as it is.

        A pattern of file names leaves the hub's inner redirects alone.
        """
        by_path = self.pattern.startswith("/")
        about = path if by_path else file
        if (
            self.times == 0
            or not about
            or not fnmatchcase(about, self.pattern)
            or (not by_path and answer.status == 307)
        ):
            return None
        if self.method not in ("", answer.method) or self.origin not in ("", origin):
            return None
        wrong = KINDS[self.kind](answer, **self.parameters)
        if wrong is not None and self.skip:
            self.skip -= 1
            return None
        if wrong is not None and self.times is not None:
            self.times -= 1
        return wrong
