"""Proves with real workers and the real library: the same answer as on one machine, and one line
when a worker is killed. Slow: the library is built from llama-cpp-python's sdist.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from support.chat.killed_chats import babble, babble_until_kept
from support.cli.running import BINARY, Run
from support.ports import free_ports
from support.server.page_client import PageClient
from support.server.serving import serving
from support.terminal.screen import READY, Screen
from support.waiting import exit_code_of, output_of, wait_until

from dslocal.chat import load_conversation
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


@pytest.fixture
def workers(built: Run) -> Iterator[list[Started]]:
    with ExitStack() as started:
        yield [started.enter_context(worker(built)) for _ in range(2)]


@contextmanager
def worker(built: Run) -> Iterator[Started]:
    """Yield a worker that answers."""
    port = free_ports(2)
    command = [str(BINARY), "worker", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        command, env=built.env(), stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        found = Started(process, f"127.0.0.1:{port}")
        said = b""
        while b"--rpc" not in said:
            line = process.stderr.readline()
            assert line, f"it did not start: {said!r}"
            said += line
        try:
            yield found
        finally:
            if process.poll() is None:
                found.kill()


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
    said = output_of(asking)[1].decode().strip().splitlines()
    assert asking.returncode == 1
    assert re.search(rf"the connection to {lost.endpoint} broke", said[-1])
    after = built("ask", *GREEDY, "--rpc", lost.endpoint, QUESTION)
    assert after.returncode == 1
    assert b"this machine alone holds the model" in after.stderr


def test_a_script_gets_what_came_until_its_worker_died(built: Run, workers: list[Started]) -> None:
    lost = workers[0]
    options = ["--rpc", lost.endpoint, "--json", "-n", "40", LONG_QUESTION]
    command = [str(BINARY), "ask", *GREEDY, *options]
    asking = subprocess.Popen(
        command, env=built.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: is_computing(lost))
    lost.kill()
    out, err = output_of(asking)
    found = json.loads(out)
    assert asking.returncode == 1
    assert f"the connection to {lost.endpoint} broke" in found["error"]
    assert found["error"] in err.decode()
    *whole, last = found["samples"]
    assert all("error" not in sample for sample in whole)
    assert (last["finish_reason"], last["error"]) == ("interrupted", found["error"])


def test_an_answer_on_its_way_is_kept_when_its_worker_dies(
    built: Run, workers: list[Started], tmp_path: Path
) -> None:
    """Proves that the next chat, which has another worker or none, continues it."""
    own = new_home_of(built, tmp_path)
    lost, other = workers
    spread = ["--n-gpu-layers", "99", "--rpc"]
    with Screen([str(BINARY), "chat", *spread, lost.endpoint], own.env()) as chat:
        chat.wait_for(READY)
        file = babble_until_kept(chat, own)
        lost.kill()
        assert chat.leave() == 1
        assert f"the connection to {lost.endpoint} broke" in " ".join(chat.text.split())
    known = kept_ids(file)
    with Screen([str(BINARY), "chat", "--resume", *spread, lost.endpoint], own.env()) as chat:
        assert chat.leave() == 1
        assert "this machine alone holds the model" in " ".join(chat.text.split())
    for options in ([*spread, other.endpoint], []):
        with Screen([str(BINARY), "chat", "--resume", *options], own.env()) as chat:
            chat.wait_for("the last answer was cut (/continue resumes it)")
            chat.wait_for(READY)
            babble(chat)
            for line in ("/set max_tokens 8", "/continue"):
                chat.press(f"{line}\r")
                chat.wait_for(READY)
        longer = kept_ids(file)
        assert (longer[: len(known)], len(longer)) == (known, len(known) + 8)
        known = longer
    with Screen([str(BINARY), "chat", "--resume"], own.env()) as chat:
        chat.wait_for(READY)
        for line in ("/set temperature 0", "/retry"):
            chat.press(f"{line}\r")
            chat.wait_for(READY)
        assert "Lima" in load_conversation(file).history[-1].content


def test_the_pages_answer_is_kept_when_its_worker_dies(
    built: Run, workers: list[Started], tmp_path: Path
) -> None:
    own = new_home_of(built, tmp_path)
    options = ["--ctx", "4096", "--n-gpu-layers", "99", "--rpc", workers[0].endpoint]
    with serving(own.home, *options) as server:
        page = PageClient(server)
        id = page.begin_until_kept()
        workers[0].kill()
        # An idle server does not notice: the answer may have ended by itself just before.
        with suppress(httpx2.TransportError):
            page.begin("What is 2 + 2?")
        assert exit_code_of(server.process) == 1
        assert f"the connection to {workers[0].endpoint} broke" in server.log
        cut = page.stored(id).history[-1]
    assert cut.cut in ("interrupted", "length")
    assert cut.content
    with serving(own.home, "--ctx", "4096") as server:
        page = PageClient(server)
        assert page.show(id)["messages"][-1]["text"] == cut.content
        assert page.send(id, action="retry", settings={"temperature": 0}).status_code == 202
        assert "Lima" in page.end(id)["text"]


def new_home_of(built: Run, folder: Path) -> Run:
    """Return a home with nano and the library, and no conversation."""
    (folder / "cache").symlink_to(built.home / "cache")
    return Run(folder)


def kept_ids(file: Path) -> tuple[int, ...]:
    """Return the tokens of the last answer, which was cut."""
    partial = load_conversation(file).partial
    assert partial is not None
    return partial.ids


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
        "    print(model._ready.context.destination)\n"
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
