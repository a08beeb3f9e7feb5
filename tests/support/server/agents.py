"""Agents, unchanged: Claude Code, Codex, opencode, Continue and aider, each with a task of two
requests.

An agent reads a file with its own tool and says what is in it, or changes it. The
answers come from a script, because nano cannot do such a task: one in the server
(``scripted_serve.py``), or in an engine behind it (``scripted_engine.py``).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.waiting import run_to_end

from dslocal.catalog import conversion_cache
from dslocal.engine import LlamaModel

from .scripted_engine import ScriptedEngine
from .serving import Serving
from .wide_nano import write_wide_nano

QUESTION = "Read settings.ini. What is the port?"
ANSWER = "The port is 8080."
SCRIPTED = Path(__file__).with_name("scripted_serve.py")
CONTEXT = 49152
LIMIT_S = 240
STATUS = re.compile(r"(?:GET|HEAD|POST) \S+ (\d+) ")


@dataclass(frozen=True)
class Programs:
    """Where the agents are: a folder of npm's, and one with aider's environment."""

    npm: Path
    aider: Path


@dataclass(frozen=True)
class Place:
    """Where an agent works: the server's address, its home, and its folder."""

    base: str
    home: Path
    work: Path

    @property
    def file(self) -> str:
        return str(self.work / "settings.ini")


@dataclass(frozen=True)
class Agent:
    """An agent, what the server's script answers it, and how it is started.

    Attributes:
        name: The program's name.
        tool: The tool that the script calls, with arguments made of the place; None for none.
        answer: What the script says in the end.
        prepare: Writes the agent's configuration.
        command: Returns its command line.
        environment: Returns what it has in its environment.
        path: The route that it must have used.
        requests: How many requests its task takes at least.
    """

    name: str
    tool: Callable[[Place], dict[str, Any]] | None
    answer: str
    prepare: Callable[[Place], None]
    command: Callable[[Programs, Place], list[str]]
    environment: Callable[[Place], dict[str, str]]
    path: str
    requests: int = 2


def nothing(place: Place) -> None:
    """Prepare nothing."""


def codex_config(place: Place) -> None:
    (place.home / "config.toml").write_text(
        'model = "nano"\nmodel_provider = "local"\n'
        f'[model_providers.local]\nname = "local"\nbase_url = "{place.base}/v1"\n'
        'wire_api = "responses"\n'
    )


def opencode_config(place: Place) -> None:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "local",
        "options": {"baseURL": f"{place.base}/v1", "apiKey": "none"},
        "models": {"nano": {"name": "nano", "limit": {"context": 49152, "output": 4096}}},
    }
    config = {"provider": {"local": provider}, "model": "local/nano", "small_model": "local/nano"}
    more = {"autoupdate": False, "share": "disabled", "permission": "allow"}
    (place.work / "opencode.json").write_text(json.dumps({**config, **more}))


def continue_agent(provider: str, base: str, path: str) -> Agent:
    """Return Continue's command line, which asks in the format of ``provider``.

    Args:
        provider: Continue's name of the format.
        base: What follows the server's address in its ``apiBase``.
        path: The route that it must have used.
    """

    def prepare(place: Place) -> None:
        model = {
            "name": "nano",
            "provider": provider,
            "model": "nano",
            "apiBase": f"{place.base}{base}",
            "apiKey": "none",
            "capabilities": ["tool_use"],
            "roles": ["chat"],
        }
        config = {"name": "local", "version": "1.0.0", "schema": "v1", "models": [model]}
        (place.home / "config.yaml").write_text(json.dumps(config))  # YAML reads JSON

    return Agent(
        name=f"Continue, {provider}",
        tool=lambda place: {"tool": "Read", "arguments": {"filepath": place.file}},
        answer=ANSWER,
        prepare=prepare,
        command=lambda programs, place: [
            str(programs.npm / "cn"),
            "--config",
            str(place.home / "config.yaml"),
            "--auto",
            "-p",
            QUESTION,
        ],
        environment=lambda place: {"CONTINUE_TELEMETRY_ENABLED": "0"},
        path=path,
    )


AGENTS = [
    continue_agent("openai", "/v1", "/v1/chat/completions"),
    continue_agent("anthropic", "/v1", "/v1/messages"),
    continue_agent("ollama", "", "/v1/chat/completions"),  # so does Continue's command line
    Agent(
        name="Claude Code",
        tool=lambda place: {"tool": "Read", "arguments": {"file_path": place.file}},
        answer=ANSWER,
        prepare=nothing,
        command=lambda programs, place: [
            str(programs.npm / "claude"),
            "-p",
            QUESTION,
            "--output-format",
            "json",
            "--max-turns",
            "4",
        ],
        environment=lambda place: {
            "ANTHROPIC_BASE_URL": place.base,
            "ANTHROPIC_AUTH_TOKEN": "none",
            "ANTHROPIC_MODEL": "nano",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "nano",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        path="/v1/messages",
    ),
    Agent(
        name="Codex",
        tool=lambda place: {"tool": "exec_command", "arguments": {"cmd": "cat settings.ini"}},
        answer=ANSWER,
        prepare=codex_config,
        command=lambda programs, place: [
            str(programs.npm / "codex"),
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            QUESTION,
        ],
        environment=lambda place: {"CODEX_HOME": str(place.home)},
        path="/v1/responses",
    ),
    Agent(
        name="opencode",
        tool=lambda place: {"tool": "read", "arguments": {"filePath": place.file}},
        answer=ANSWER,
        prepare=opencode_config,
        command=lambda programs, place: [str(programs.npm / "opencode"), "run", QUESTION],
        environment=lambda place: {},
        path="/v1/chat/completions",
    ),
    Agent(
        name="aider",
        tool=None,
        answer="settings.ini\n```\nport = 9090\n```\n",
        prepare=nothing,
        command=lambda programs, place: [
            str(programs.aider / "aider"),
            "--model=openai/nano",
            "--edit-format=whole",
            "--no-git",
            "--yes-always",
            "--no-check-update",
            "--no-show-model-warnings",
            "--analytics-disable",
            "--message=Change the port to 9090.",
            "settings.ini",
        ],
        environment=lambda place: {
            "OPENAI_API_BASE": f"{place.base}/v1",
            "OPENAI_API_KEY": "none",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        path="/v1/chat/completions",
        requests=1,
    ),
]


@contextmanager
def scripted_server(home: Path, folder: Path, steps: list[dict[str, Any]]) -> Iterator[Serving]:
    """A server whose answers come from ``steps``, on nano with a larger context."""
    wide = write_wide_nano(conversion_cache.ensure_gguf("nano"), folder / "wide-nano.gguf")
    script = folder / "script.json"
    script.write_text(json.dumps(steps), encoding="utf-8")
    options = ("--family", "nano", "--alias", "nano", "--no-math", "--ctx", str(CONTEXT))
    program = (sys.executable, str(SCRIPTED), str(script))
    server = Serving(home, *options, "--parallel", "2", models=[str(wide)], program=program)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def server_with_scripted_engine(home: Path, steps: list[dict[str, Any]]) -> Iterator[Serving]:
    """A server, all of it real, in front of an engine whose answers come from ``steps``."""
    file = conversion_cache.ensure_gguf("nano")
    with (
        LlamaModel(file) as model,
        ScriptedEngine(model, "llamacpp", n_ctx=CONTEXT, steps=steps) as engine,
    ):
        options = ("--engine", engine.url, "--tokenizer", str(file), "--no-math")
        server = Serving(home, *options, models=[])
        try:
            yield server
        finally:
            server.close()
        assert engine.generated, server.log


def run_agent(agent: Agent, programs: Programs, home: Path, *, has_engine: bool = False) -> str:
    """Have ``agent`` do its task, on a server with nano, or on one with an engine behind.

    Returns:
        What the server logged.

    Raises:
        AssertionError: The agent failed, or its requests were not answered.
    """
    with tempfile.TemporaryDirectory(prefix="agent-") as name:
        folders = [Path(name) / part for part in ("server", "home", "work")]
        for folder in folders:
            folder.mkdir()
        server_folder, own_home, work = folders
        (work / "settings.ini").write_text("port = 8080\n")
        place = Place("", own_home, work)
        steps = [agent.tool(place)] if agent.tool else []
        steps.append({"text": agent.answer})
        if has_engine:
            served = server_with_scripted_engine(home, steps)
        else:
            served = scripted_server(home, server_folder, steps)
        with served as server:
            place = Place(f"http://127.0.0.1:{server.port}", own_home, work)
            agent.prepare(place)
            environment = {"PATH": os.environ["PATH"], "HOME": str(own_home), "TERM": "dumb"}
            done = run_to_end(
                agent.command(programs, place),
                sent="",
                env={**environment, **agent.environment(place)},
                cwd=work,
                limit_s=LIMIT_S,
            )
            log = server.log
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-3000:] + log
        found = said if agent.tool else (work / "settings.ini").read_text()
        expected = agent.answer if agent.tool else "port = 9090"
        assert expected in found, said[-3000:] + log
        assert log.count(f"POST {agent.path} 200") >= agent.requests, log
        assert set(STATUS.findall(log)) == {"200"}, log
        return log
