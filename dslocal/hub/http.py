"""Bytes over HTTP through huggingface_hub's own session: ranges, limits, and every failure
explained or tried again.

The session brings proxies, certificates and HF_HUB_OFFLINE. Nothing here trusts a length, a
redirect or a hash that a server sends.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dslocal.errors import DownloadError, DslocalError, NotFoundError

if TYPE_CHECKING:
    import httpx2

CHUNK = 1 << 20
FIRST_PATIENCE = 2
PATIENCE = 7  # tries in a row that bring nothing, 0.5 s to 16 s apart
LONGEST_WAIT_S = 120.0
TIMEOUT_S = 10.0  # without a byte
TOKEN = "set HF_TOKEN to a token that may read it, or run hf auth login"  # noqa: S105
AGAIN = "the same command goes on from there"
BUSY = (408, 425, 429, 500, 502, 503, 504)

_T = TypeVar("_T")
Check = Callable[["httpx2.Response"], None]


class _NonsenseError(Exception):
    """An answer that makes no sense, and would make none the next time."""


def session() -> httpx2.Client:
    """huggingface_hub's client, without its warnings."""
    from huggingface_hub.utils import get_session, logging

    logging.set_verbosity(logging.ERROR)
    return get_session()


@contextmanager
def _response(
    url: str, headers: Mapping[str, str], check: Check | None
) -> Iterator[httpx2.Response]:
    """A GET whose first answer, before any redirect, passed ``check``."""
    with session().stream(
        "GET", url, headers={**headers, "Accept-Encoding": "identity"}, timeout=_timeout()
    ) as response:
        _refuse_errors(response)
        if check is not None:
            check(response.history[0] if response.history else response)
        if response.status_code not in (200, 206):  # as a redirect to nowhere
            raise _NonsenseError(f"{response.url.host} answers {response.status_code} and no file")
        yield response


def get_small(url: str, headers: Mapping[str, str], most: int) -> bytes:
    """A whole body of at most ``most`` bytes."""
    with _response(url, headers, None) as response:
        body = bytearray()
        for chunk in response.iter_bytes(CHUNK):
            body += chunk
            if len(body) > most:
                raise _NonsenseError(f"goes on after {most:,} bytes; that cannot be right")
    return bytes(body)


def get_range(
    url: str, headers: Mapping[str, str], start: int, stop: int, check: Check | None
) -> Iterator[bytes]:
    """The bytes from ``start`` to ``stop``, in pieces; never more, whatever the server sends. Fewer
    where it stops early.
    """
    if start >= stop:
        return
    with _response(url, {**headers, "Range": f"bytes={start}-{stop - 1}"}, check) as response:
        skip, left = _skipped(response, start), stop - start
        for chunk in (
            response.iter_bytes()
        ):  # as they come: what is gathered first is lost when the connection breaks
            piece = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            if piece:
                yield piece[:left]
                left -= len(piece)
            if left <= 0:
                return


def _skipped(response: httpx2.Response, start: int) -> int:
    """Bytes of the body before ``start``: a server may ignore a range and send everything."""
    if response.status_code != 206:
        return start
    given = response.headers.get("Content-Range", "")
    if given.startswith("bytes ") and not given.startswith(f"bytes {start}-"):
        raise _NonsenseError(
            f"{response.url.host} sends {given!r:.60} where byte {start} was asked for"
        )
    return 0


def _refuse_errors(response: httpx2.Response) -> None:
    """Raises HfHubHTTPError by status and headers. The body is left alone: it may be of any
    length.
    """
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status

    if response.status_code >= 400:
        told = {
            name: value
            for name, value in response.headers.items()
            if name.lower() not in ("content-length", "content-encoding")
        }
        hf_raise_for_status(
            httpx2.Response(response.status_code, headers=told, request=response.request)
        )


def content_length(url: str, headers: Mapping[str, str]) -> int | None:
    """What a HEAD says of a file's size."""
    response = session().head(
        url,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=_timeout(),
        follow_redirects=True,
    )
    _refuse_errors(response)
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 20 else None


def with_retries(
    action: Callable[[], _T],
    what: str,
    *,
    gained: Callable[[], int] = int,
    first: bool = False,
    stop: threading.Event | None = None,
) -> _T:
    """``action()``, tried again after failures that pass; one that brought bytes, by ``gained``,
    costs no patience.

    ``first`` is for what comes before all else: where there is no connection, it is soon given up.
    Raises the failure explained: NotFoundError, DownloadError; soon, once ``stop`` is set.
    """
    import httpx2

    tries, before = 0, gained()
    while True:
        try:
            return action()
        except DslocalError:
            raise
        except Exception as e:
            wait = _worth_waiting(e, tries)
            tries, before = (1, gained()) if gained() > before else (tries + 1, before)
            if wait is None or tries >= (
                FIRST_PATIENCE if first and isinstance(e, httpx2.ConnectError) else PATIENCE
            ):
                raise explain_error(e, what) from e
            pause(wait, stop)


def pause(seconds: float, stop: threading.Event | None) -> None:
    """Waits. Raises DownloadError when ``stop`` is set."""
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise stopped_error()


def stopped_error() -> DownloadError:
    return DownloadError("stopped", hint=AGAIN)


def _worth_waiting(error: Exception, tries: int) -> float | None:
    """Seconds until it makes sense to try again, None where it does not."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    pause = min(16.0, 0.5 * 2**tries) * random.uniform(0.5, 1.0)  # noqa: S311
    if isinstance(error, HfHubHTTPError):
        if error.response is None or error.response.status_code not in BUSY:
            return None
        asked = _retry_after(error.response)
        return None if asked > LONGEST_WAIT_S else max(asked, pause)
    return (
        pause
        if isinstance(error, httpx2.TransportError)
        and not isinstance(error, httpx2.UnsupportedProtocol)
        else None
    )


def _retry_after(response: httpx2.Response) -> float:
    from huggingface_hub.utils import parse_ratelimit_headers

    said = response.headers.get("Retry-After", "")
    if said.isascii() and said.isdecimal():
        return float(said[:9])
    try:
        limits = parse_ratelimit_headers(response.headers)
    except ValueError:
        return 0.0
    return float(limits.reset_in_seconds) if limits and limits.remaining == 0 else 0.0


def explain_error(error: Exception, what: str) -> DslocalError:
    """What went wrong with ``what``, in one line, and what would help."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, _NonsenseError):
        return DownloadError(f"{what}: {error}")
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _refused(error, error.response, what)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return DownloadError(
            f"{what}: is not on this machine",
            hint="HF_HUB_OFFLINE is set: unset it, or use what is here (dslocal models)",
        )
    if isinstance(error, httpx2.TooManyRedirects):
        return DownloadError(f"{what}: is redirected in a circle")
    if isinstance(error, httpx2.TimeoutException):
        return DownloadError(f"{what}: nothing arrived for {_timeout():.0f} s", hint=AGAIN)
    if isinstance(error, httpx2.ConnectError):
        return DownloadError(
            f"{what}: no connection: {error}",
            hint="is there a network? what is here works without (dslocal models)",
        )
    if isinstance(error, OSError) and error.strerror:
        return DownloadError(
            f"{what}: {error.filename or 'cannot be written'}: {error.strerror}", hint=AGAIN
        )
    return DownloadError(f"{what}: {type(error).__name__}: {error}", hint=AGAIN)


def _refused(error: Exception, response: httpx2.Response, what: str) -> DslocalError:
    from huggingface_hub import errors

    kinds: list[tuple[type[Exception], DslocalError]] = [
        (
            errors.GatedRepoError,
            DownloadError(
                f"{what}: its owner asks for consent first",
                hint=f"accept that on its page, then {TOKEN}",
            ),
        ),
        (
            errors.RevisionNotFoundError,
            NotFoundError(f"{what}: has no such revision, or has it no longer"),
        ),
        (
            errors.RepositoryNotFoundError,
            NotFoundError(
                f"{what}: no such repository, or a private one", hint=f"if it is private, {TOKEN}"
            ),
        ),
        (errors.EntryNotFoundError, NotFoundError(f"{what}: no such file")),
    ]
    for kind, meaning in kinds:
        if isinstance(error, kind):
            return meaning
    match response.status_code:
        case 401 | 403 as status:
            return DownloadError(f"{what}: not allowed ({status})", hint=TOKEN)
        case 404:
            return NotFoundError(f"{what}: not found")
        case 429:
            wait = _retry_after(response)
            return DownloadError(
                f"{what}: too many requests",
                hint=f"wait {wait:,.0f} s; {AGAIN}" if wait else f"wait; {AGAIN}",
            )
    return DownloadError(f"{what}: {response.url.host} answers {response.status_code}", hint=AGAIN)


def truncated_error() -> Exception:
    """A body that ended before its time, which is worth another try."""
    import httpx2

    return httpx2.RemoteProtocolError("the server stopped early")


def _timeout() -> float:
    from huggingface_hub import constants

    return max(TIMEOUT_S, float(constants.HF_HUB_DOWNLOAD_TIMEOUT))
