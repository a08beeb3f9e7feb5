"""The errors of a connection to an engine, each with its own message."""

from __future__ import annotations

import json
import ssl
from typing import Any

from dslocal.errors import DslocalError, NotFoundError, RemoteEngineError

from .address import KEY_HINT, EngineAddress

MAX_REASON = 200  # characters of what an engine says
RUNNING_HINT = "is the engine running, and is this its address?"
KEPT_HINT = "the part that arrived is kept"
REFUSED_STATUS = (400, 422)
PASSING_STATUS = (408, 425, 429, 502, 503, 504)


class PassingError(RemoteEngineError):
    """A failure that may be temporary: another try is worth it if no part of an answer has come.

    Attributes:
        wait_s: Seconds that the engine asks to wait; 0 where it does not say.
    """

    def __init__(self, message: str, *, hint: str = "", wait_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s


class RefusedRequestError(RemoteEngineError):
    """An engine that works refuses what it is asked for (400, 422)."""


def status_error(
    address: EngineAddress, status: int, body: bytes, retry_after: str = ""
) -> DslocalError:
    """Return what a response with an error status means.

    Args:
        address: The engine.
        status: The response's status.
        body: The beginning of its body.
        retry_after: Its header of that name.
    """
    url, reason = address.url, _reason(body, address.key)
    because = f": {reason}" if reason else ""
    if status in (401, 403):
        refused = "refuses the key" if address.key else "needs a key"
        return RemoteEngineError(f"{url}: {refused} ({status})", hint=KEY_HINT)
    if status == 404:
        return NotFoundError(f"{url}: not found (404){because}", hint=RUNNING_HINT)
    if 300 <= status < 400:
        return RemoteEngineError(
            f"{url}: redirects to another address ({status}), which dslocal does not follow",
            hint="use the URL of the engine itself",
        )
    if status == 429:
        wait_s = _seconds(retry_after)
        hint = f"it asks to wait {wait_s:,.0f} s" if wait_s else "try again in a moment"
        return PassingError(f"{url}: too many requests (429){because}", hint=hint, wait_s=wait_s)
    if status in PASSING_STATUS:
        return PassingError(
            f"{url}: not available now ({status}){because}", wait_s=_seconds(retry_after)
        )
    if status >= 500:
        return RemoteEngineError(
            f"{url}: the engine failed ({status}){because}", hint="see the engine's log"
        )
    kind = RefusedRequestError if status in REFUSED_STATUS else RemoteEngineError
    return kind(f"{url}: refuses the request ({status}){because}")


def slow_error(address: EngineAddress, seconds: float) -> DslocalError:
    """Return the error for a reply that was not whole after so many seconds."""
    return PassingError(
        f"{address.url}: its reply was not whole after {seconds:,.0f} s", hint=RUNNING_HINT
    )


def stalled_error(address: EngineAddress, seconds: float) -> RemoteEngineError:
    """Return the error for a stream that sends bytes, but no whole event in so many seconds."""
    return RemoteEngineError(
        f"{address.url}: sent no whole event in {seconds:,.0f} s", hint="see the engine's log"
    )


def changed_error(address: EngineAddress, model: str) -> RemoteEngineError:
    """Return the error for an engine that serves another model by the name of the first one."""
    return RemoteEngineError(
        f"{address.url}: its {model} is another model than before",
        hint="start dslocal again, which reads what the engine serves now",
    )


def connection_error(address: EngineAddress, error: Exception) -> DslocalError:
    """Return why no response came, from what httpx2 raised."""
    import httpx2

    url = address.url
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return RemoteEngineError(
            f"{url}: its certificate cannot be trusted: {certificate.verify_message}",
            hint="set SSL_CERT_FILE to the certificates to trust",
        )
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLError):
        reason = tls.reason or "no encryption"
        return RemoteEngineError(
            f"{url}: no encrypted connection: {reason}", hint="does the engine use http://?"
        )
    if isinstance(error, httpx2.ConnectTimeout):
        return PassingError(f"{url}: no connection in time", hint=RUNNING_HINT)
    if isinstance(error, httpx2.TimeoutException):
        return PassingError(f"{url}: sent nothing", hint="see the engine's log")
    if isinstance(error, httpx2.ProxyError):
        return RemoteEngineError(
            f"{url}: the proxy refuses the connection: {_plain(str(error))}",
            hint="set NO_PROXY to the hosts that need no proxy",
        )
    system = _cause(error, OSError)
    reason = _plain(getattr(system, "strerror", None) or str(error))
    if isinstance(error, httpx2.ConnectError):
        return PassingError(f"{url}: no server answers: {reason}", hint=RUNNING_HINT)
    return PassingError(f"{url}: the connection was lost: {reason or 'it was closed'}")


def cut_error(address: EngineAddress, count: int, unit: str = "tokens") -> RemoteEngineError:
    """Return the error of a stream that ended before its answer did, after ``count`` units."""
    if not count:
        return PassingError(f"{address.url}: the connection was lost before the first token")
    return RemoteEngineError(
        f"{address.url}: the connection was lost after {count:,} {unit}", hint=KEPT_HINT
    )


def nonsense_error(address: EngineAddress, what: str) -> RemoteEngineError:
    """Return the error for an engine that sends something unexpected."""
    return RemoteEngineError(
        f"{address.url}: {what}", hint="is this vLLM, SGLang or llama-server? dslocal help engine"
    )


def event_error(address: EngineAddress, event: Any) -> DslocalError | None:
    """Return the error that an event of a stream reports; None where it reports none, or null."""
    if not isinstance(event, dict) or event.get("error") is None:
        return None
    reason = _message(event["error"]) or "it does not say why"
    shown = _redacted(_plain(reason), address.key)
    return RemoteEngineError(
        f"{address.url}: the engine failed: {shown}", hint="see the engine's log"
    )


def _reason(body: bytes, key: str) -> str:
    """Return what the body of an error says, on one line."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return ""  # a page of HTML, such as a proxy's, says nothing that the status does not
    reason = _message(content.get("error") or content) if isinstance(content, dict) else ""
    return _redacted(_plain(reason), key)


def _message(error: Any) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        for name in ("message", "detail", "error"):
            found = error.get(name)
            if isinstance(found, str):
                return found
    return ""


def _plain(text: str) -> str:
    """Return ``text`` on one line, without control characters, not too long."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:MAX_REASON]


def _redacted(text: str, key: str) -> str:
    """Return ``text`` without the key, which an engine may repeat."""
    return text.replace(key, "…") if key else text


def _seconds(retry_after: str) -> float:
    text = retry_after.strip()
    return float(text[:9]) if text.isascii() and text.isdecimal() else 0.0


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of that kind that led to ``error``."""
    found: BaseException | None = error
    for _ in range(16):
        if found is None or isinstance(found, kind):
            return found
        found = found.__cause__ or found.__context__
    return None
