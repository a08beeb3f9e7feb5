"""The hub's settings in the environment: offline or not, which endpoint, and where the cache is.

When the hub cannot be reached, this module also finds the variable that is at fault.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from dslocal.errors import DownloadError
from dslocal.files import expanded

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROXY_SCHEMES = ("http", "https")
SOCKS_SCHEMES = ("socks5", "socks5h")
ENDPOINT_HINT = "for example https://hf-mirror.com"
UNSET = "unset it, or set it to a file that exists"


def is_offline() -> bool:
    """Return whether the hub must not be contacted, as ``HF_HUB_OFFLINE=1`` says.

    Raises:
        DownloadError: ``HF_ENDPOINT`` is malformed.
    """
    return bool(_constants().is_offline_mode())


def endpoint() -> str:
    """Return the hub's URL: ``HF_ENDPOINT``, or Hugging Face's own.

    Raises:
        DownloadError: ``HF_ENDPOINT`` is malformed.
    """
    return str(_constants().ENDPOINT)


def _constants() -> ModuleType:
    """Return huggingface_hub's constants, which cannot be imported with a malformed endpoint."""
    try:
        from huggingface_hub import constants
    except ValueError as e:
        value = os.environ.get("HF_ENDPOINT", "")
        raise DownloadError(
            f"HF_ENDPOINT is {value!r:.100}, which is not a URL", hint=ENDPOINT_HINT
        ) from e
    return constants


def hub_cache_dir() -> Path:
    """Return Hugging Face's cache folder, by the environment as it is now.

    The rule is that of ``huggingface_hub.constants``, which reads the environment once.

    Raises:
        UsageError: A variable names the home of a user who does not exist.
    """
    env = os.environ
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if explicit := env.get(variable):
            return expanded(os.path.expandvars(explicit), variable)
    if home := env.get("HF_HOME"):
        return expanded(os.path.expandvars(home), "HF_HOME") / "hub"
    cache = env.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(os.path.expandvars(cache), "XDG_CACHE_HOME") / "huggingface" / "hub"


class EnvironmentFault(NamedTuple):
    """What in the environment keeps the hub from being reached, and what would help."""

    reason: str
    hint: str


def explain_environment(error: Exception) -> EnvironmentFault | None:
    """Return what in the environment made a request fail with ``error``, if anything did.

    Looked at are the proxies, as httpx reads them, the certificates, and ``HF_ENDPOINT``.
    """
    import httpx2

    for variable in CERTIFICATE_VARIABLES:
        file = os.environ.get(variable)
        if file and isinstance(error, OSError) and not Path(file).exists():
            return EnvironmentFault(f"{variable} is {file!r:.100}, which does not exist", UNSET)
    if isinstance(error, httpx2.UnsupportedProtocol) and not endpoint().startswith("http"):
        return EnvironmentFault(
            f"HF_ENDPOINT is {endpoint()!r:.100}, which is not a URL",
            ENDPOINT_HINT,
        )
    if isinstance(error, httpx2.ConnectError) and "CERTIFICATE" in str(error).upper():
        return EnvironmentFault(
            f"the certificate of the server is not trusted: {error}",
            "if a proxy inspects the traffic, set SSL_CERT_FILE to its certificate",
        )
    proxy = _proxy_at_fault(error)
    return _explain_proxy(error, *proxy) if proxy else None


def _proxy_at_fault(error: Exception) -> tuple[str, str] | None:
    """Return the variable and the value of the proxy that ``error`` comes from, if one does."""
    import httpx2

    if isinstance(error, httpx2.ProxyError | httpx2.ConnectError | httpx2.ConnectTimeout):
        split = urlsplit(endpoint())
        if proxy_bypass(split.hostname or ""):
            return None
        return _proxy_variable(split.scheme) or _proxy_variable("all")
    if isinstance(error, ImportError | ValueError | httpx2.InvalidURL):
        for scheme in ("https", "http", "all"):
            found = _proxy_variable(scheme)
            if found and not _is_usable_proxy(found[1]):
                return found
    return None


def _proxy_variable(scheme: str) -> tuple[str, str] | None:
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
        if value := os.environ.get(name):
            return name, value
    return None


def _is_usable_proxy(value: str) -> bool:
    """Return whether httpx takes a proxy without a further package."""
    try:
        split = urlsplit(value if "://" in value else f"http://{value}")
        return split.scheme in PROXY_SCHEMES and bool(split.hostname) and split.port != 0
    except ValueError:  # a port that is not a number, a bracket that is not closed
        return False


def _explain_proxy(error: Exception, variable: str, value: str) -> EnvironmentFault:
    import httpx2

    shown = re.sub(r"//[^/@]*@", "//…@", value)  # without a password
    scheme = value.partition("://")[0].lower()
    if isinstance(error, ImportError):
        return EnvironmentFault(
            f"{variable} is a SOCKS proxy, {shown!r:.100}, and the package socksio is missing",
            f"pip install socksio, use an HTTP proxy, or unset {variable}",
        )
    if isinstance(error, httpx2.ProxyError):
        return EnvironmentFault(
            f"the proxy of {variable}, {shown!r:.100}, refuses: {error}",
            "if it needs a login, write http://USER:PASSWORD@HOST:PORT",
        )
    if isinstance(error, httpx2.TransportError):
        return EnvironmentFault(
            f"no connection to the proxy of {variable}, {shown!r:.100}: {error}",
            f"is it running? Unset {variable}, or set NO_PROXY to the hosts that need no proxy",
        )
    known = "http://HOST:PORT or socks5://HOST:PORT"
    if "://" in value and scheme not in (*PROXY_SCHEMES, *SOCKS_SCHEMES):
        return EnvironmentFault(
            f"{variable} is {shown!r:.100}: {scheme or 'no scheme'} is not supported", f"as {known}"
        )
    return EnvironmentFault(f"{variable} is {shown!r:.100}, which is not a proxy", f"as {known}")
