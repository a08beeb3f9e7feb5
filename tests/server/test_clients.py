"""Proves that openai's own client works unchanged, also with an engine behind the server; the
heavier ones are run by ``tests/server/clients/run.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli.running import clean_environment
from support.engines.llama_server import needs_llama_server
from support.server.client_scripts import serving_nano
from support.server.serving import Serving
from support.waiting import run_to_end

SCRIPT = Path(__file__).parent / "clients" / "with_openai.py"


def test_openai(served: Serving) -> None:
    ask_as_openai(served)


@pytest.mark.slow
@needs_llama_server
def test_openai_with_an_engine_behind(new_home: Callable[[str], Path]) -> None:
    with serving_nano(new_home("clients"), has_engine=True) as server:
        ask_as_openai(server)


def ask_as_openai(served: Serving) -> None:
    command = [sys.executable, "-P", str(SCRIPT), f"http://127.0.0.1:{served.port}"]
    done = run_to_end(command, sent="", env=clean_environment())
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(said) == {"sync", "stream", "async", "tool", "structured", "fim", "error"}
