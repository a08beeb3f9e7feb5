"""Read bytes over HTTP through huggingface_hub's own session.

This module requests ranges, enforces limits, and explains or retries every failure. The session
brings proxies, certificates and HF_HUB_OFFLINE. Nothing here trusts a length, a redirect or a hash
that a server sends.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dslocal.errors import DownloadError, DslocalError, NotFoundError, UnreachableError

from .environment import explain_environment
from .wake_ups import wake_for_signals

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub.utils import RateLimitInfo

CHUNK = 1 << 20  # bytes
MAX_TRIES = 7  # in a row that bring nothing, 0.5 s to 16 s apart
MAX_FIRST_TRIES = 2  # if not even the first connection succeeds
MAX_BACKOFF_S = 16.0
MAX_WAIT_S = 120.0  # that a server may ask for
TIMEOUT_S = 10.0  # without a byte
TOKEN_HINT = "set HF_TOKEN to a token with access to it, or run hf auth login"  # noqa: S105
NETWORK_HINT = "check the network; the models that dslocal models lists work without it"
RESUME_HINT = "repeat the command to continue"
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)

_T = TypeVar("_T")
Check = Callable[["httpx2.Response"], None]


class _NonsenseError(Exception):
    """A response that makes no sense, and would not if it were requested again."""


class HubFunctions(NamedTuple):
    """Functions of ``huggingface_hub.utils``."""

    get_session: Callable[[], httpx2.Client]
    build_headers: Callable[..., dict[str, str]]
    raise_for_status: Callable[[httpx2.Response], None]
    parse_rate_limit: Callable[[Mapping[str, str]], RateLimitInfo | None]
    hide_progress: Callable[[], object]


@functools.cache
def hub_functions() -> HubFunctions:
    """Return functions of huggingface_hub, which warns of nothing from now on.

    They are imported once, and not for each request: the attributes of ``huggingface_hub.utils``
    are looked up by a function in Python, and what a signal's handler raises in there is discarded
    by an import (CPython's ``_PyModuleSpec_IsInitializing``). Ctrl-C would have no effect.
    """
    from huggingface_hub import utils

    utils.logging.set_verbosity(utils.logging.ERROR)
    return HubFunctions(
        utils.get_session,
        utils.build_hf_headers,
        utils.hf_raise_for_status,
        utils.parse_ratelimit_headers,
        utils.disable_progress_bars,
    )


def session() -> httpx2.Client:
    """Return huggingface_hub's client."""
    return hub_functions().get_session()


def get_small(url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """Return a whole body of at most ``max_bytes`` bytes."""
    with _response(url, headers, None) as response:
        body = bytearray()
        for chunk in response.iter_bytes(CHUNK):
            body += chunk
            if len(body) > max_bytes:
                raise _NonsenseError(f"is longer than {max_bytes:,} bytes, which cannot be right")
    return bytes(body)


def get_range(
    url: str, headers: Mapping[str, str], start: int, stop: int, check: Check | None
) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``stop`` as they come.

    Never more, whatever the server sends; fewer where it stops early.

    Args:
        url: The file.
        headers: Further headers of the request.
        start: The first byte.
        stop: The byte after the last.
        check: Raises where the first response, before any redirect, is not acceptable.
    """
    if start >= stop:
        return
    with _response(url, {**headers, "Range": f"bytes={start}-{stop - 1}"}, check) as response:
        skip, left = _bytes_before(response, start), stop - start
        # chunks of a fixed size would be lost when the connection breaks
        for chunk in response.iter_bytes():
            piece = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            if piece:
                yield piece[:left]
                left -= len(piece)
            if left <= 0:
                return


def content_length(url: str, headers: Mapping[str, str]) -> int | None:
    """Return a file's size from the response to a HEAD request; None if it is not there."""
    headers = {**headers, "Accept-Encoding": "identity"}
    with wake_for_signals():
        response = session().head(url, headers=headers, timeout=_timeout(), follow_redirects=True)
    _raise_for_status(response)
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


@contextmanager
def _response(
    url: str, headers: Mapping[str, str], check: Check | None
) -> Iterator[httpx2.Response]:
    """Yield the response to a GET whose first response, before any redirect, passed ``check``."""
    headers = {**headers, "Accept-Encoding": "identity"}
    with (
        wake_for_signals(),
        session().stream("GET", url, headers=headers, timeout=_timeout()) as response,
    ):
        _raise_for_status(response)
        if check is not None:
            check(response.history[0] if response.history else response)
        if response.status_code not in (200, 206):  # such as a redirect to nowhere
            raise _NonsenseError(
                f"{response.url.host} answers {response.status_code} without a file"
            )
        yield response


def _bytes_before(response: httpx2.Response, start: int) -> int:
    """Return how many bytes of the body come before ``start``.

    A server may ignore a range and send everything.
    """
    if response.status_code != 206:
        return start
    given = response.headers.get("Content-Range", "")
    if given.startswith("bytes ") and not given.startswith(f"bytes {start}-"):
        raise _NonsenseError(
            f"{response.url.host} sends {given!r:.60} where byte {start} was asked for"
        )
    return 0


def _raise_for_status(response: httpx2.Response) -> None:
    """Raise HfHubHTTPError by status and headers.

    The body is left alone: it may be of any length.
    """
    if response.status_code < 400:
        return
    import httpx2

    headers = {}
    for name, value in response.headers.items():
        if name.lower() not in ("content-length", "content-encoding"):
            headers[name] = value
    hub_functions().raise_for_status(
        httpx2.Response(response.status_code, headers=headers, request=response.request)
    )


def with_retries(
    action: Callable[[], _T],
    what: str,
    *,
    gained: Callable[[], int] = int,
    first: bool = False,
    stop: threading.Event | None = None,
) -> _T:
    """Return what ``action`` returns, tried again after failures that pass.

    Args:
        action: A request.
        what: What it is for, for messages.
        gained: How many bytes have come. A try that brought some counts as the first.
        first: Whether nothing was requested before: without a connection it is soon given up.
        stop: Once it is set, waiting ends.

    Raises:
        DslocalError: The failure explained, or it was stopped.
    """
    import httpx2

    failures, before = 0, gained()
    while True:
        try:
            return action()
        except DslocalError:
            raise
        except Exception as e:
            wait = _wait_before_retry(e, failures)
            now = gained()
            failures = 1 if now > before else failures + 1
            before = max(before, now)
            is_unconnected = first and isinstance(e, httpx2.ConnectError)
            if wait is None or failures >= (MAX_FIRST_TRIES if is_unconnected else MAX_TRIES):
                raise explain_error(e, what) from e
            pause(wait, stop)


def pause(seconds: float, stop: threading.Event | None) -> None:
    """Wait. Raises DownloadError when ``stop`` is set."""
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise stopped_error()


def _wait_before_retry(error: Exception, failures: int) -> float | None:
    """Return the seconds after which it makes sense to try again; None where it does not."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    backoff = min(MAX_BACKOFF_S, 0.5 * 2**failures) * random.uniform(0.5, 1.0)  # noqa: S311
    if isinstance(error, HfHubHTTPError):
        if error.response is None or error.response.status_code not in RETRIED_STATUS:
            return None
        demanded = _retry_after(error.response)
        return None if demanded > MAX_WAIT_S else max(demanded, backoff)
    if isinstance(error, httpx2.UnsupportedProtocol):
        return None
    return backoff if isinstance(error, httpx2.TransportError) else None


def _retry_after(response: httpx2.Response) -> float:
    """Return the seconds that the server asks to wait; 0 where it does not say."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        limits = hub_functions().parse_rate_limit(response.headers)
    except ValueError:
        return 0.0
    return float(limits.reset_in_seconds) if limits and limits.remaining == 0 else 0.0


def stopped_error() -> DownloadError:
    """Return the error of a download that was stopped."""
    return DownloadError("stopped", hint=RESUME_HINT)


def truncated_error() -> Exception:
    """Return the error of a body that ended too early, which is worth another try."""
    import httpx2

    return httpx2.RemoteProtocolError("the server stopped early")


def explain_error(error: Exception, what: str) -> DslocalError:
    """Return what went wrong with ``what``, in one line, and what would help."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, _NonsenseError):
        return DownloadError(f"{what}: {error}")
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _explain_status(error, error.response, what)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UnreachableError(
            f"{what}: is not on this machine",
            hint="HF_HUB_OFFLINE is set: unset it, or use a model that dslocal models lists",
        )
    if isinstance(error, httpx2.TooManyRedirects):
        return DownloadError(f"{what}: is redirected in a circle")
    fault = explain_environment(error)
    if fault is not None:
        return UnreachableError(f"{what}: {fault.reason}", hint=fault.hint)
    if isinstance(error, httpx2.ConnectTimeout):
        return UnreachableError(
            f"{what}: no connection within {_timeout():.0f} s", hint=NETWORK_HINT
        )
    if isinstance(error, httpx2.TimeoutException):
        return DownloadError(f"{what}: nothing arrived for {_timeout():.0f} s", hint=RESUME_HINT)
    if isinstance(error, httpx2.ConnectError):
        return UnreachableError(f"{what}: no connection: {error}", hint=NETWORK_HINT)
    if isinstance(error, OSError) and error.strerror:
        where = error.filename or "cannot be written"
        return DownloadError(f"{what}: {where}: {error.strerror}", hint=RESUME_HINT)
    return DownloadError(f"{what}: {type(error).__name__}: {error}", hint=RESUME_HINT)


def _explain_status(error: Exception, response: httpx2.Response, what: str) -> DslocalError:
    """Return what the hub's refusal means: by huggingface_hub's class for it, else by status."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        hint = f"accept its terms on its page, then {TOKEN_HINT}"
        return DownloadError(f"{what}: its owner requires you to accept terms first", hint=hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"{what}: has no such revision, or no longer has it")
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = f"if it is private, {TOKEN_HINT}"
        return NotFoundError(f"{what}: no such repository, or a private one", hint=hint)
    if isinstance(error, errors.EntryNotFoundError):
        return NotFoundError(f"{what}: no such file")
    status = response.status_code
    if status in (401, 403):
        return DownloadError(f"{what}: not allowed ({status})", hint=TOKEN_HINT)
    if status == 404:
        return NotFoundError(f"{what}: not found")
    if status == 429:
        seconds = _retry_after(response)
        wait = f"wait {seconds:,.0f} s" if seconds else "wait"
        return DownloadError(f"{what}: too many requests", hint=f"{wait}; {RESUME_HINT}")
    return DownloadError(f"{what}: {response.url.host} answers {status}", hint=RESUME_HINT)


def _timeout() -> float:
    from huggingface_hub import constants

    return max(TIMEOUT_S, float(constants.HF_HUB_DOWNLOAD_TIMEOUT))
