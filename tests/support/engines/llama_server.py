"""A real llama-server with nano, on machines that have one.

``DSLOCAL_TEST_LLAMA_SERVER`` names it, or it is on the path.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_until

SERVER = os.environ.get("DSLOCAL_TEST_LLAMA_SERVER") or shutil.which("llama-server")
needs_llama_server = pytest.mark.skipif(SERVER is None, reason="no llama-server")


@contextmanager
def llama_server(nano: Path, *, slots: int = 1, context: int = 4096) -> Iterator[str]:
    """Yield the URL of a llama-server that has nano loaded, and calls it so.

    Args:
        nano: Its file.
        slots: How many answers it makes at a time.
        context: The tokens of each slot's context.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-c", str(slots * context), "-np", str(slots), "-t", "1", "--no-repack", "--slots"]
    with subprocess.Popen(
        [
            str(SERVER),
            "-m",
            str(nano),
            "--alias",
            "nano",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: _is_ready(url), process)
            yield url
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
