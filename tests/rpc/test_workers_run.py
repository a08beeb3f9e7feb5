"""Proves with real workers and the real library: the same answer as on one machine, and one line
when a worker is killed. Slow: the library is built from llama-cpp-python's sdist.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.waiting import wait_until

from dslocal.errors import DownloadError
from dslocal.rpc import build, library

pytestmark = pytest.mark.slow
GREEDY = ("--temperature", "0", "--cold", "--n-gpu-layers", "99")
QUESTION = "What is 47 × 86?"
LONG_QUESTION = "What is 12 * (3 + 4) - 5 * (6 + 7) + 8 * 9?"


@dataclass(frozen=True)
class Started:
    """A worker as a process."""

    process: subprocess.Popen[bytes]
    endpoint: str

    def kill(self) -> None:
        """Kill the process that serves, and the one that waits for it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def built(first_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A home with nano and the library."""
    if not any(shutil.which(name) for name in build.COMPILERS):
        pytest.skip("no C++ compiler")
    home = tmp_path_factory.mktemp("rpc-home")
    (home / "cache").mkdir()
    (home / "cache" / "converted").symlink_to(first_home / "cache" / "converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(home))
        if library.find_library() is None:
            try:
                build.build_library(None, lambda _: None)
            except DownloadError as e:
                pytest.skip(str(e))
    return Run(home)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def workers(built: Run) -> Iterator[list[Started]]:
    found = []
    for _ in range(2):
        port = free_port()
        command = [str(BINARY), "worker", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            command, env=built.env(), stderr=subprocess.PIPE, start_new_session=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if b"--rpc" in line:
                break
        found.append(Started(process, f"127.0.0.1:{port}"))
    yield found
    for worker in found:
        if worker.process.poll() is None:
            worker.kill()
        if worker.process.stderr is not None:
            worker.process.stderr.close()


def test_the_answer_is_that_of_one_machine(built: Run, workers: list[Started]) -> None:
    rpc = ",".join(worker.endpoint for worker in workers)
    more = ["--json", "--logprobs", "0", QUESTION]
    alone = built("ask", "--temperature", "0", "--cold", *more)
    spread = built("ask", *GREEDY, "--rpc", rpc, *more)
    assert spread.returncode == 0, spread.stderr
    answers = [json.loads(done.stdout) for done in (alone, spread)]
    tokens = [[entry["id"] for entry in answer["logprobs"]] for answer in answers]
    assert tokens[0] == tokens[1]
    assert b"layers: " in spread.stderr


def test_a_worker_that_is_killed_is_named_and_the_next_start_says_what_fits(
    built: Run, workers: list[Started]
) -> None:
    lost = workers[0]
    command = [str(BINARY), "ask", *GREEDY, "--rpc", lost.endpoint, "-n", "4", LONG_QUESTION]
    asking = subprocess.Popen(
        command, env=built.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: is_computing(lost))
    lost.kill()
    began = time.monotonic()
    said = asking.communicate(timeout=60)[1].decode().strip().splitlines()
    assert time.monotonic() - began < 30
    assert asking.returncode == 1
    assert re.search(rf"the connection to {lost.endpoint} broke", said[-1])
    after = built("ask", *GREEDY, "--rpc", lost.endpoint, QUESTION)
    assert after.returncode == 1
    assert b"this machine alone holds the model" in after.stderr


def is_computing(worker: Started) -> bool:
    """Return whether a worker's server has used a second of the processor for its client."""
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    child = children.read_text().split()[0]
    numbers = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
    known = _idle_seconds.setdefault(child, seconds)
    return seconds > known + 0.5


_idle_seconds: dict[str, float] = {}


def test_bench_says_where_the_layers_are(built: Run, workers: list[Started]) -> None:
    few = ["--repeat", "1", "--tokens", "8", "--depths", "0", "--ctx", "512", "--mtp", "off"]
    away = ["--rpc", workers[0].endpoint, "--n-gpu-layers", "99"]
    done = built("bench", "nano", *few, *away)
    assert done.returncode == 0, done.stderr
    heading = done.stdout.decode().splitlines()[1]
    assert f"6 layers at {workers[0].endpoint}" in heading
    assert "GPU" not in heading


def test_the_python_api_takes_workers(built: Run, workers: list[Started]) -> None:
    program = (
        "import dslocal, sys\n"
        "with dslocal.load('nano', rpc=sys.argv[1], n_gpu_layers=99) as model:\n"
        f"    print(model.ask({QUESTION!r}, seed=1, temperature=0).text)\n"
        "    print(model._context.destination)\n"
    )
    python = Path(BINARY).with_name("python")
    done = subprocess.run(
        [str(python), "-c", program, workers[1].endpoint],
        env=built.env(),
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert b"4042" in done.stdout
    assert done.stdout.decode().split()[-1] == workers[1].endpoint
