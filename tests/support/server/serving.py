"""``dslocal serve`` as a process: started on nano, asked over HTTP or with raw bytes, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.cli.running import BINARY, clean_environment
from support.waiting import TimeLimit, exit_code_of, wait_until

from dslocal.server import discovery
from dslocal.server.discovery import RunningServer

START_S = 90
MODEL = "nano"
SUM = "What is 31 + 57?"
SERVE = (str(BINARY), "serve")


class Serving:
    """A running server. ``log`` is what it wrote."""

    def __init__(
        self,
        home: Path,
        *options: str,
        models: Sequence[str] = (MODEL,),
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = SERVE,
    ) -> None:
        self.home = home
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115
            prefix="serve-", suffix=".log", delete=False
        )
        command = [*program, *models, "--port", "0", *options]
        environment = {
            **clean_environment(),
            "DSLOCAL_HOME": str(home),
            "OMP_THREAD_LIMIT": "1",
            **(env or {}),
        }
        began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=home,
        )
        self.port = self._wait()
        self.started_in_s = time.monotonic() - began
        self.http = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False
        )

    def _wait(self) -> int:
        limit = TimeLimit(START_S)
        while not limit.is_over() and self.process.poll() is None:
            if found := re.search(r" at http://\S+:(\d+)/v1: ", self.log):
                return int(found[1])
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"it did not start: {self.log}")

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, text: str) -> None:
        """Wait until ``text`` is in the log: a request is logged after it was answered."""
        wait_until(lambda: text in self.log)

    def note(self) -> RunningServer:
        """Return the note in its home by which others find it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DSLOCAL_HOME", str(self.home))
            (found,) = (each for each in discovery.running_servers() if each.port == self.port)
        return found

    def post(self, path: str, body: Any, **more: Any) -> httpx2.Response:
        return self.http.post(path, json=body, **more)

    def chat(self, text: str = SUM, **more: Any) -> dict[str, Any]:
        """Return the reply to one question at temperature 0."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            **more,
        }
        answer = self.post("/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def stream(self, path: str, body: Any) -> list[dict[str, Any]]:
        """Return the events of a stream, which must end properly."""
        answer = self.post(path, {**body, "stream": True})
        assert answer.status_code == 200, answer.text
        lines = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def raw(self, data: bytes, *, timeout: float = 20) -> bytes:
        """Send ``data`` and return what comes until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            found = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while piece := connection.recv(1 << 16):
                    found += piece
            return found

    @property
    def worker(self) -> int:
        """Return the process that does the work; the first only waits for it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if children.exists():
            return int(children.read_text().split()[0])
        listed = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        return int(listed.stdout.split()[0])

    def kill(self) -> None:
        os.kill(self.worker, signal.SIGKILL)
        exit_code_of(self.process)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return exit_code_of(self.process)

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                exit_code_of(self.process)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self._log.close()
        Path(self._log.name).unlink()


@contextlib.contextmanager
def serving(
    home: Path,
    *options: str,
    models: Sequence[str] = (MODEL,),
    env: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    server = Serving(home, *options, models=models, env=env)
    try:
        yield server
    finally:
        server.close()
