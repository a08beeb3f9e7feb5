"""Open WebUI, unchanged, used as its page uses it: chats that stream, a tool, a title, a stop.

It has three connections: nano in OpenAI's format and in Ollama's, and a model whose answers come
from a script, because nano cannot find a title, and whether it calls the tool of the test is up to
it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from support.waiting import wait_until

from .agents import scripted_server
from .serving import MODEL, Serving, serving

Json = dict[str, Any]
SCRIPTED_MODEL = "wide-nano"
TOOL = {"tool": "get_current_timestamp", "arguments": {}}
TITLE = "A fine time"
ANSWER = f'It is a fine time. {{"title": "{TITLE}"}}'
WITHOUT_TOOLS = {"function_calling": "legacy"}  # its own tools need 12,000 tokens of nano's
ENDLESS = {
    "temperature": 1.5,
    "custom_params": {"logit_bias": {"<｜end▁of▁sentence｜>": -100, "</think>": -100}},
}
START_S = 180
# Before its chat has read of a stream, Open WebUI 0.12.4 forgets to close it when stopped.
FIRST_TOKENS_S = 0.7
CUT_SHORT = re.compile(r"^dslocal_answers_cut_short_total (\S+)$", re.MULTILINE)
STATUS = re.compile(r"(?:GET|POST) (\S+) (\d+) ")


class OpenWebui:
    """A running Open WebUI, asked for what its page asks for."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx2.Client(base_url=base_url, timeout=60, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def is_up(self) -> bool:
        """Return whether it answers yet."""
        try:
            return self._http.get("/health").status_code == 200
        except httpx2.HTTPError:
            return False

    def sign_in(self) -> None:
        """Become its only user."""
        token = self._json("POST", "/api/v1/auths/signin", {"email": "", "password": ""})["token"]
        self._http.headers["authorization"] = f"Bearer {token}"

    def models(self) -> set[str]:
        """Return the names of all models that it offers."""
        return {model["id"] for model in self._json("GET", "/api/models")["data"]}

    def begin(
        self,
        model: str,
        text: str,
        after: tuple[str, str] | None = None,
        *,
        has_title: bool = True,
        settings: Json | None = None,
    ) -> tuple[str, str, str]:
        """Ask a question, in a new chat or after an answer of one.

        Args:
            model: The model.
            text: The question.
            after: The chat and the answer.
            has_title: Whether a new chat is given a title.
            settings: Settings of the chat.

        Returns:
            The ids of the chat, of the answer and of the task that generates it.
        """
        chat, parent = after or (None, None)
        question, answer = str(uuid.uuid4()), str(uuid.uuid4())
        message = {
            "id": question,
            "parentId": parent,
            "childrenIds": [answer],
            "role": "user",
            "content": text,
            "models": [model],
        }
        body = {
            "stream": True,
            "model": model,
            "params": settings or {},
            "session_id": "test",
            "message_ids": [{"model_id": model, "message_id": answer, "modelIdx": 0}],
            "id": answer,
            "parent_id": parent,
            "user_message": message,
            "background_tasks": {"title_generation": has_title and chat is None},
            **({"chat_id": chat} if chat else {}),
        }
        started = self._json("POST", "/api/chat/completions", body)
        return started["chat_id"], answer, started["task_ids"][0]

    def chat(self, chat: str) -> Json:
        """Return a chat with all that has come of it."""
        found: Json = self._json("GET", f"/api/v1/chats/{chat}")
        return found

    def answered(self, chat: str, answer: str) -> str:
        """Wait for the end of an answer, and return it as the page would show it."""

        def message() -> Json:
            found: Json = self.chat(chat)["chat"]["history"]["messages"].get(answer, {})
            return found

        wait_until(lambda: message().get("done") is True)
        assert "error" not in message(), message()
        return str(message()["content"])

    def stop(self, task: str) -> None:
        """End an answer."""
        self._json("POST", f"/api/tasks/stop/{task}")

    def _json(self, method: str, path: str, body: Json | None = None) -> Any:
        response = self._http.request(method, path, json=body)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
        return response.json()


@contextmanager
def open_webui(program: Path, openai: list[str], ollama: str) -> Iterator[OpenWebui]:
    """Start Open WebUI with connections to servers of OpenAI's format, and to one of Ollama's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="open-webui-") as data:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": data,
            "DATA_DIR": data,
            "WEBUI_AUTH": "False",
            "WEBUI_SECRET_KEY": "secret",
            "OFFLINE_MODE": "true",
            "RAG_EMBEDDING_ENGINE": "openai",  # or else it loads a model for that
            "OPENAI_API_BASE_URLS": ";".join(openai),
            "OPENAI_API_KEYS": ";".join("none" for _ in openai),
            "OLLAMA_BASE_URL": ollama,
        }
        command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
        with (Path(data) / "log").open("w+") as log:
            process = subprocess.Popen(command, env=environment, cwd=data, stdout=log, stderr=log)
            client = OpenWebui(f"http://127.0.0.1:{port}")
            try:
                end = time.monotonic() + START_S
                while not client.is_up():
                    assert process.poll() is None, Path(log.name).read_text()[-3000:]
                    assert time.monotonic() < end, Path(log.name).read_text()[-3000:]
                    time.sleep(0.5)
                client.sign_in()
                yield client
            finally:
                client.close()
                process.terminate()
                process.wait(timeout=60)


def run_open_webui(program: Path, home: Path) -> str:
    """Have Open WebUI list models, chat twice, call a tool, find a title, and stop an answer.

    Args:
        program: Its command.
        home: A DSLOCAL_HOME where nano is converted already.

    Returns:
        What the servers logged.

    Raises:
        AssertionError: It failed, or its requests were not answered.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(home, "--no-math", "--parallel", "2") as nano,
        scripted_server(home, Path(folder), [TOOL, {"text": ANSWER}]) as scripted,
    ):
        own, other = (f"http://127.0.0.1:{server.port}" for server in (nano, scripted))
        with open_webui(program, [f"{own}/v1", f"{other}/v1"], own) as webui:
            assert webui.models() >= {MODEL, f"{MODEL}:latest", SCRIPTED_MODEL}
            _stop(webui, nano)  # while nothing else is generated
            for model in (MODEL, f"{MODEL}:latest"):
                _chat_twice(webui, model)
            _call_a_tool(webui, scripted)
        log = nano.log + scripted.log
    statuses = STATUS.findall(log)
    assert {status for path, status in statuses if path != "/metrics"} <= {"200", "499"}, log
    assert {path for path, _ in statuses} >= {"/v1/models", "/api/tags", "/api/chat"}, log
    return log


def _chat_twice(webui: OpenWebui, model: str) -> None:
    chat, first, _ = webui.begin(model, "What is the capital of Peru?", settings=WITHOUT_TOOLS)
    assert "Lima" in webui.answered(chat, first)
    _, second, _ = webui.begin(model, "And of Japan?", (chat, first), settings=WITHOUT_TOOLS)
    assert webui.answered(chat, second)


def _call_a_tool(webui: OpenWebui, scripted: Serving) -> None:
    chat, answer, _ = webui.begin(SCRIPTED_MODEL, "What time is it?")
    shown = webui.answered(chat, answer)
    assert "It is a fine time." in shown
    assert scripted.log.count("POST /v1/chat/completions 200") >= 2, scripted.log
    wait_until(lambda: webui.chat(chat)["title"] == TITLE)


def _stop(webui: OpenWebui, nano: Serving) -> None:
    def cut_short() -> float:
        found = CUT_SHORT.search(nano.http.get("/metrics").text)
        return float(found[1]) if found else 0.0

    before = cut_short()
    settings = {**WITHOUT_TOOLS, **ENDLESS}
    task = webui.begin(MODEL, "Why is the sky blue?", has_title=False, settings=settings)[2]
    wait_until(lambda: nano.http.get("/health").json()["running"] > 0)
    time.sleep(FIRST_TOKENS_S)
    webui.stop(task)
    wait_until(lambda: cut_short() > before)
    assert nano.http.get("/health").json()["running"] == 0
