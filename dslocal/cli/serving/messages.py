"""The messages of ``dslocal serve``: its addresses, its log, and the settings for Open WebUI."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.terminal.sanitise import sanitise, sanitise_line

from .serve_options import KEY_VARIABLE

if TYPE_CHECKING:
    from dslocal.errors import DslocalError
    from dslocal.server.models.model_set import ModelSet
    from dslocal.server.models.offered_model import OpenedModel

# Where this machine itself finds a server that listens at all its addresses.
NEAR_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
ROOM_FOR_TOOLS = (
    16_384  # tokens; Open WebUI 0.12.4 describes its 36 tools in 12,300 of nano's tokens
)
WITHOUT_TOOLS = """DEFAULT_MODEL_METADATA='{"capabilities": {"builtin_tools": false}}'"""


def near_address(host: str) -> str:
    """Return the address at which this machine finds a server that listens at ``host``."""
    return NEAR_ADDRESSES.get(host, host)


def base_url(host: str, port: int) -> str:
    """Return the URL that clients are given."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def page_url(host: str, port: int) -> str:
    """Return the address of the chat page, as this machine finds it."""
    return base_url(near_address(host), port).removesuffix("v1")


def print_page(url: str, no_browser: str | None) -> None:
    """Print on stderr where the chat page is.

    Args:
        url: Its address.
        no_browser: Why it was to be opened in the browser and was not; None where it was.
    """
    line = f"the chat page is at {url}"
    if no_browser:
        line += f" ({no_browser}, so no browser was opened)"
    print(f"dslocal: {line}", file=sys.stderr, flush=True)


def print_left_out(name: str, error: DslocalError) -> None:
    """Print on stderr that a model is not served, and why."""
    hint = f" ({error.hint})" if error.hint else ""
    line = f"{name} is not served: {error}{hint}"
    print(f"dslocal: {sanitise_line(line)}", file=sys.stderr, flush=True)


def print_ready(models: ModelSet, first: OpenedModel, url: str) -> None:
    """Print on stderr that requests are taken, and what is served.

    Args:
        models: All that is served.
        first: The model that is loaded already.
        url: What clients connect to.
    """
    slots, n_ctx = len(first.slots), first.slots[0].n_ctx
    answers = "one answer at a time, with a context of"
    if slots > 1:
        answers = f"{slots} answers at once, each with a context of"
    line = f"{first.served.name} at {url}: {answers} {n_ctx:,} tokens"
    if len(models.entries) > 1:
        names = ", ".join(entry.name for entry in models.entries)
        line = f"{len(models.entries)} models at {url}: {names}"
    print(f"dslocal: {sanitise_line(line)}", file=sys.stderr, flush=True)


def print_open_webui(url: str, key_file: Path | None, *, has_key: bool, n_ctx: int) -> None:
    """Print the shell lines that connect Open WebUI. The key itself is not in them."""
    key = "none"
    if has_key and key_file:
        key = f'"$(cat {sanitise_line(shlex.quote(str(key_file)))})"'
    elif has_key:
        key = f'"${KEY_VARIABLE}"'
    print(
        f"export OPENAI_API_BASE_URL={url}\nexport OPENAI_API_KEY={key}\nopen-webui serve",
        flush=True,
    )
    if n_ctx < ROOM_FOR_TOOLS:
        print(
            f"dslocal: the tools of Open WebUI fill this context; set {WITHOUT_TOOLS} to leave "
            "them out",
            file=sys.stderr,
            flush=True,
        )


def log(line: str) -> None:
    """Write a line to the log, with the time. More lines are indented, so that no text of a
    request can be taken for a line of the log.
    """
    text = sanitise(line).rstrip().replace("\n", "\n    ")
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def print_stopped() -> None:
    """Print on stderr that the server has ended."""
    print("dslocal: the server has stopped", file=sys.stderr, flush=True)
