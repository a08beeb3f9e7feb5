"""Ask llama.cpp's own server, as benchmarks ask dslocal."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

TOP_P = 0.95
Ask = Callable[[Sequence[int], float, int], "Said"]


@dataclass(frozen=True)
class Said:
    """One answer: its text, and what it took."""

    text: str
    tokens: int
    seconds: float
    drafted: int = 0
    accepted: int = 0


@contextlib.contextmanager
def server(
    binary: Path,
    file: Path,
    max_tokens: int,
    *options: str,
    n_ctx: int,
    cpu_time: bool = False,
) -> Iterator[Ask]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(binary),
        "-m",
        str(file),
        "--port",
        str(port),
        "-c",
        str(n_ctx),
        "-np",
        "1",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(port, process)
            yield (
                _counted(port, process.pid, max_tokens)
                if cpu_time
                else functools.partial(_post, port, max_tokens)
            )
        finally:
            process.terminate()


def _counted(port: int, pid: int, max_tokens: int) -> Ask:
    """Ask a server, and count the CPU time that its process takes."""
    import psutil

    usage = psutil.Process(pid)

    def ask(prompt: Sequence[int], temperature: float, seed: int) -> Said:
        began = usage.cpu_times()
        said = _post(port, max_tokens, prompt, temperature, seed)
        ended = usage.cpu_times()
        return replace(said, seconds=ended.user - began.user + ended.system - began.system)

    return ask


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"llama-server ended with {process.returncode}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SystemExit("llama-server did not start")


def _post(port: int, max_tokens: int, prompt: Sequence[int], temperature: float, seed: int) -> Said:
    sampling = {
        "temperature": temperature,
        "top_p": TOP_P,
        "top_k": 0,
        "min_p": 0,
        "seed": seed,
        "samplers": ["temperature", "top_p"],
    }
    body = {"prompt": list(prompt), "n_predict": max_tokens, "cache_prompt": False, **sampling}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        found = json.load(answer)
    timings = found["timings"]
    drafted, accepted = timings.get("draft_n", 0), timings.get("draft_n_accepted", 0)
    return Said(
        found["content"], timings["predicted_n"], timings["predicted_ms"] / 1000, drafted, accepted
    )
