"""The URL of an engine, and its key.

A key comes from the environment or from a file, so that it is in no list of processes, no history
of a shell and no log.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dslocal.errors import UsageError

SCHEMES = ("http", "https")
URL_HINT = "for example http://localhost:8000 (vLLM), :30000 (SGLang) or :8080 (llama-server)"
KEY_HINT = "set DSLOCAL_ENGINE_KEY to the key, or DSLOCAL_ENGINE_KEY_FILE to a file with it"
MAX_KEY = 4096  # characters
VENDOR_HOST = "api.deepseek.com"


@dataclass(frozen=True)
class EngineAddress:
    """Where an engine is.

    Attributes:
        url: Scheme, host, port and path, without ``/v1`` and without a slash at its end.
        host: The host's name or address.
        key: What it is shown to be let in; empty for none.
    """

    url: str
    host: str
    key: str = field(default="", repr=False)

    @property
    def is_loopback(self) -> bool:
        """Return whether the engine is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_encrypted(self) -> bool:
        """Return whether what is sent cannot be read on the way."""
        return self.url.startswith("https:")

    @property
    def is_vendor(self) -> bool:
        """Return whether this is DeepSeek's own API."""
        return self.host == VENDOR_HOST

    @property
    def destination(self) -> str:
        """Return where text goes, for people."""
        if self.is_loopback:
            return f"{self.url}, on this machine"
        return self.url if self.is_encrypted else f"{self.url}, unencrypted"


def engine_address(url: str, key: str = "", *, source: str = "engine") -> EngineAddress:
    """Return the address that ``url`` spells.

    Args:
        url: ``http://`` or ``https://``, a host, and what else leads to the engine.
        key: What the engine asks for; empty for nothing.
        source: What errors call the URL, which may hold a password and is not repeated then.

    Raises:
        UsageError: It is not such a URL, or the key cannot be sent.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise UsageError(f"{source}: {e}", hint=URL_HINT) from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{source}: a URL, which others can see, must not contain a name and a password",
            hint=KEY_HINT,
        )
    if parts.scheme not in SCHEMES or not host or not url.isprintable():
        raise UsageError(f"{source}: {url!r:.80} is not the URL of an engine", hint=URL_HINT)
    if parts.query or parts.fragment:
        raise UsageError(f"{source}: a URL with ? or # is not that of an engine", hint=URL_HINT)
    if len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise UsageError(
            "the engine's key has characters that an HTTP header cannot have", hint=KEY_HINT
        )
    named = f"[{host}]" if ":" in host else host
    place = f"{named}:{port}" if port else named
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return EngineAddress(f"{parts.scheme}://{place}{path}", host, key)
