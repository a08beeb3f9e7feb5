"""The scripts of ``tests/server/clients``, each of which asks a server with one client library."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.engines.llama_server import llama_server
from support.waiting import run_to_end

from dslocal.catalog import conversion_cache

from .serving import Serving, serving

CONTEXT = 2048
ENGINE_SLOTS = 4
LIMIT_S = 900  # schemathesis sends 650 requests
CLIENTS = Path(__file__).parents[2] / "server" / "clients"


@contextmanager
def serving_nano(home: Path, *, has_engine: bool = False) -> Iterator[Serving]:
    """Yield the server that the scripts ask, with nano in it or in a llama-server behind it."""
    with ExitStack() as opened:
        options = ["--no-math", "--ctx", str(CONTEXT)]
        models = ["nano"]
        if has_engine:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DSLOCAL_HOME", str(home))
                file = conversion_cache.ensure_gguf("nano")
            engine = llama_server(file, slots=ENGINE_SLOTS, context=CONTEXT)
            options += ["--engine", opened.enter_context(engine)]
            models = []
        yield opened.enter_context(serving(home, *options, models=models))


def run_script(script: Path, python: str, server: Serving) -> subprocess.CompletedProcess[str]:
    """Run one script against ``server``."""
    interpreter = "bash" if script.suffix == ".sh" else python
    command = [interpreter, str(script), f"http://127.0.0.1:{server.port}"]
    return run_to_end(command, sent="", limit_s=LIMIT_S)


def scripts() -> list[Path]:
    """Return all scripts."""
    return [*sorted(CLIENTS.glob("with_*.py")), CLIENTS / "with_curl.sh"]
