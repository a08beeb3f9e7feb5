"""Access to the server: its key, and its host names."""

from __future__ import annotations

import os
import shlex
import socket
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from dslocal.api.arguments.sizes import size_in_bytes
from dslocal.errors import NotFoundError, UsageError
from dslocal.files import read_limited, utf8_text
from dslocal.server.access import AccessPolicy

from .serve_options import KEY_VARIABLE, ServeOptions

MIN_KEY_LENGTH = 8
MAX_KEY_FILE = 4096  # bytes
OPAQUE_ORIGIN = "null"  # of a page that was opened as a file


def access_policy(options: ServeOptions, own_token: str) -> AccessPolicy:
    """Return who may connect, as the options say.

    Args:
        options: The options of the command.
        own_token: The key of dslocal's own commands.

    Raises:
        UsageError: Others could connect without a key, or an option is not valid.
        NotFoundError: The file with the key cannot be read.
    """
    key = read_key(options.api_key)
    is_exposed = not is_loopback(options.host)
    if is_exposed and key is None:
        raise UsageError(
            f"--host {options.host:.100}: other machines can connect to this address, so the "
            "server needs a key",
            hint=f"use --api-key FILE, or set {KEY_VARIABLE}",
        )
    names = [*map(_host_name, options.allow_host or []), options.host]
    if is_exposed:
        names.append(socket.gethostname())
    return AccessPolicy(
        api_key=key,
        hosts=frozenset(name.lower() for name in names),
        origins=frozenset(map(_origin, options.allow_origin or [])),
        is_exposed=is_exposed,
        max_body_bytes=size_in_bytes(options.max_body),
        own_token=own_token,
    )


def _host_name(text: str) -> str:
    """Return a name of --allow-host. Raises UsageError for one that no Host header can have."""
    try:
        is_host = urlsplit(f"//[{text}]" if ":" in text else f"//{text}").hostname == text.lower()
    except ValueError:
        is_host = False
    if not is_host or not text.isprintable() or " " in text:
        raise UsageError(
            f"--allow-host: {text!r:.100} is not the name of a host",
            hint="without http:// and port, such as models.example.org",
        )
    return text


def _origin(text: str) -> str:
    """Return an origin of --allow-origin, as browsers send it.

    Raises:
        UsageError: No browser sends it: it has a path, or no scheme.
    """
    if text == OPAQUE_ORIGIN:
        return text
    origin = text.removesuffix("/")
    try:
        parts = urlsplit(origin)
    except ValueError:
        parts = urlsplit("")
    is_origin = parts.scheme and parts.hostname and "@" not in origin
    is_origin = is_origin and origin.lower() == f"{parts.scheme}://{parts.netloc}".lower()
    if not is_origin or not origin.isprintable() or " " in origin:
        raise UsageError(
            f"--allow-origin: {text!r:.100} is not the origin of a web page",
            hint="scheme, host and port alone, such as http://localhost:3000",
        )
    return origin.lower()


def read_key(file: Path | None) -> str | None:
    """Return the key that clients must send, of a file or else of the environment.

    Raises:
        UsageError: It could be guessed, or others can read the file.
        NotFoundError: The file cannot be read.
    """
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            return None
        source = KEY_VARIABLE
    else:
        key = _read_private(file)
        source = str(file)
    key = key.strip()
    if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"{source}: a key needs at least {MIN_KEY_LENGTH} characters and no blanks",
            hint="openssl rand -hex 24 makes one",
        )
    return key


def _read_private(file: Path) -> str:
    try:
        is_shared = file.stat().st_mode & 0o077
        text = utf8_text(read_limited(file, max_bytes=MAX_KEY_FILE))
    except (OSError, ValueError) as e:
        raise NotFoundError(
            f"--api-key: {file}: {getattr(e, 'strerror', None) or 'is not text'}",
            hint="give a file that contains the key",
        ) from None
    if is_shared:
        raise UsageError(
            f"--api-key: {file}: other users can read this file",
            hint=f"chmod 600 {shlex.quote(str(file))}",
        )
    return text


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
