"""Proves that real clients work unchanged, where ``CLIENTS_FOLDER`` names a folder that has them:
``clients/README.md`` says how it is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engines.llama_server import needs_llama_server
from support.server.agents import AGENTS, Agent, Programs, run_agent
from support.server.client_scripts import run_script, scripts, serving_nano
from support.server.open_webui import run_open_webui
from support.server.serving import Serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]


@pytest.fixture(scope="module")
def installed() -> Path:
    folder = os.environ.get("CLIENTS_FOLDER")
    if not folder:
        pytest.skip("CLIENTS_FOLDER names no folder with the clients")
    return Path(folder)


@pytest.fixture(scope="module", params=["here", pytest.param("engine", marks=needs_llama_server)])
def asked(request: pytest.FixtureRequest, new_home: Callable[[str], Path]) -> Iterator[Serving]:
    """nano, loaded by the server or by a llama-server behind it."""
    home = new_home("clients")
    with serving_nano(home, has_engine=request.param == "engine") as server:
        yield server


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_a_library(installed: Path, asked: Serving, script: Path) -> None:
    done = run_script(script, str(installed / "env" / "bin" / "python"), asked)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("has_engine", [False, True], ids=["here", "engine"])
@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_an_agent(installed: Path, home: Path, agent: Agent, *, has_engine: bool) -> None:
    programs = Programs(installed / "node_modules" / ".bin", installed / "aider" / "bin")
    run_agent(agent, programs, home, has_engine=has_engine)


def test_open_webui(installed: Path, home: Path) -> None:
    run_open_webui(installed / "open-webui" / "bin" / "open-webui", home)
