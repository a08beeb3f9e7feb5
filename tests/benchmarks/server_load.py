"""``dslocal serve`` beside llama-server: 16 clients at once, questions of mixed length, a third of
them leaving in mid-stream.

    python tests/benchmarks/server_load.py [--seconds 120] [--clients 16] [--rounds 4] [--server
    LLAMA-SERVER]

Both servers run nano from the same file, with as many sequences as there are clients and the same
number of threads; the same load goes to one and then to the other, in turns, so that other work on
the machine slows both alike. What counts is the text that arrives: tokens that are made for clients
that have left do not, nor does white space around the reasoning and the answer, which llama-server
sends and dslocal does not. Every question is a sum of its own at temperature 0, whose result must
be in the answer: an answer without it that the server does not give alone either may be another's.
Some are asked again alone, to see whether company changes them. Memory is the process's own, at
each turn's end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.cli.running import BINARY

from dslocal.catalog import conversion_cache

N_CTX = 2048
MAX_TOKENS = 400
SEED = 20251122
LEAVES = 1 / 3
ASKED_AGAIN = 60
TEMPLATE = Path(__file__).parents[1] / "vectors/templates/deepseek-r1-671b.jinja"
CAPITALS = ("Peru", "France", "Japan", "Italy", "Spain", "Egypt", "Norway", "Kenya")
FILLER = "In the morning we walked along the river and counted the boats that were tied up there. "


def _anonymous_bytes(pid: int) -> int:
    """Return the resident anonymous memory of a process."""
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found, "Linux says it"
    return int(found[1]) << 10


@dataclass(frozen=True)
class Question:
    """``expected`` must be in the answer."""

    messages: tuple[dict[str, str], ...]
    expected: str


def questions(rng: random.Random) -> Iterator[Question]:
    """Sums without an end, each in a conversation of its own: three in five after a short or a long
    story.
    """
    while True:
        a, b = rng.randint(11, 99), rng.randint(11, 99)
        story = (
            f"On day {rng.randint(1, 9999)} it rained. " + FILLER * rng.choice((1, 10, 30))
            if rng.random() < 0.6
            else ""
        )
        asked = {"role": "user", "content": f"What is {a} + {b}?"}
        about = {
            "role": "user",
            "content": f"{story}What is the capital of {rng.choice(CAPITALS)}?",
        }
        yield Question(
            (about, {"role": "assistant", "content": "Noted."}, asked) if story else (asked,),
            str(a + b),
        )


@dataclass
class Client:
    """One request at a time over a connection of its own, read without looking at it: clients must
    cost little.
    """

    socket: socket.socket
    question: Question
    began: float
    leave_after: int | None
    first: float = 0.0
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Load:
    """What came of the requests to one server."""

    first_s: list[float] = field(default_factory=list)
    finished: int = 0
    left: int = 0
    right: int = 0
    again: int = 0
    same: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    characters: int = 0
    seconds: float = 0.0
    memory: list[int] = field(default_factory=list)


class Server:
    """A server process, and the load that it has borne."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.port = port
        self.load = Load()
        self.said: list[tuple[Question, str]] = []
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self.log, env=env
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(600):
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}")
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise SystemExit(f"{self.name} did not start")

    def memory(self) -> int:
        """Bytes of the largest of the process and its children that are its own: files that are
        mapped do not count.
        """
        pids = [
            self.process.pid,
            *map(
                int,
                Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
                .read_text()
                .split(),
            ),
        ]
        return max(_anonymous_bytes(pid) for pid in pids)

    def ask(self, question: Question) -> str:
        client = self.open(question, None)
        client.socket.setblocking(True)
        while data := client.socket.recv(1 << 16):
            client.data += data
        return spoken(bytes(client.data))[0]

    def open(self, question: Question, leave_after: int | None) -> Client:
        body = {
            "model": "nano",
            "messages": question.messages,
            "stream": True,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
        }
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost:"
            f" 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )
        try:
            connection = socket.create_connection(("127.0.0.1", self.port))
        except ConnectionRefusedError:
            self.log.seek(0)
            raise SystemExit(
                f"{self.name} is gone ({self.process.poll()}):"
                f" {self.log.read()[-3000:].decode(errors='replace')}"
            ) from None
        connection.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        connection.setblocking(False)
        return Client(connection, question, time.perf_counter(), leave_after)


def spoken(stream: bytes) -> tuple[str, str]:
    """The reasoning and the answer, without white space around them, and what is wrong with the
    stream.
    """
    reasoning = content = ""
    for line in stream.splitlines():
        if line.startswith(b"data: {"):
            event: dict[str, Any] = json.loads(line[6:])
            if "error" in event:
                return reasoning.strip() + content.strip(), str(event["error"])[:200]
            for choice in event.get("choices", []):
                delta = choice["delta"]
                reasoning += delta.get("reasoning_content") or ""
                content += delta.get("content") or ""
    status = stream[:15].decode("latin-1")
    return (
        reasoning.strip() + content.strip(),
        ""
        if b"data: [DONE]" in stream and "200" in status
        else f"{status}: no end: {stream[-200:]!r}",
    )


def bear(
    server: Server, asked: Iterator[Question], clients: int, seconds: float, rng: random.Random
) -> None:
    """Keeps ``clients`` busy for ``seconds``, and waits for those at work then."""
    load, ready = server.load, selectors.DefaultSelector()
    began, open_ones = time.perf_counter(), 0

    def begin() -> None:
        nonlocal open_ones
        leave_after = rng.randint(1, 60) if rng.random() < LEAVES else None
        client = server.open(next(asked), leave_after)
        ready.register(client.socket, selectors.EVENT_READ, client)
        open_ones += 1

    for _ in range(clients):
        begin()
    while open_ones:
        for key, _ in ready.select(timeout=60):
            client: Client = key.data
            data = client.socket.recv(1 << 16)
            client.data += data
            if not client.first and b'content":' in client.data:
                client.first = time.perf_counter()
                load.first_s.append(client.first - client.began)
            leaving = (
                client.leave_after is not None and client.data.count(b"data: ") > client.leave_after
            )
            if data and not leaving:
                continue
            ready.unregister(client.socket)
            client.socket.close()
            open_ones -= 1
            load.characters += len(spoken(bytes(client.data))[0])
            if data:
                load.left += 1
            else:
                judge(server, client)
            if time.perf_counter() - began < seconds:
                begin()
    load.seconds += time.perf_counter() - began
    load.memory.append(server.memory())


def judge(server: Server, client: Client) -> None:
    load, (text, fault) = server.load, spoken(bytes(client.data))
    load.finished += 1
    if fault:
        load.errors.append(fault)
        return
    server.said.append((client.question, text))
    load.right += client.question.expected in text


def compare(server: Server, rng: random.Random) -> None:
    """Asks some of the questions again, alone: an answer that is right neither way and differs may
    be another's.
    """
    for question, text in rng.sample(server.said, min(ASKED_AGAIN, len(server.said))):
        alone = server.ask(question)
        server.load.again += 1
        server.load.same += alone == text
    for question, text in server.said:
        if question.expected not in text and server.ask(question) != text:
            server.load.wrong.append(f"{question.messages[-1]['content']} {text[-80:]!r}")


@contextlib.contextmanager
def servers(args: argparse.Namespace) -> Iterator[list[Server]]:
    file = conversion_cache.ensure_gguf("nano")
    threads = str(args.threads)
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    peer = [
        str(args.server),
        "-m",
        str(file),
        "--port",
        str(ports[0]),
        "-np",
        str(args.clients),
        "-c",
        str(N_CTX * args.clients),
    ]
    peer += [
        "-t",
        threads,
        "-tb",
        threads,
        "--no-webui",
        "--no-repack",  # of Q8_0 only AMX would repack anything, and aborts on MLA
        "--jinja",
        "--chat-template-file",
        str(TEMPLATE),
    ]
    ours = [
        str(BINARY),
        "serve",
        str(file),
        "--port",
        str(ports[1]),
        "--parallel",
        str(args.clients),
        "--ctx",
        str(N_CTX),
        "--no-math",
    ]
    ours += ["--quiet"]
    started: list[Server] = []
    try:
        started.append(Server("llama-server", peer, ports[0]))
        if not args.peer_only:
            env = {**os.environ, "OMP_THREAD_LIMIT": threads}
            started.append(Server("dslocal serve", ours, ports[1], env))
        yield started
    finally:
        for server in started:
            server.process.terminate()
            server.process.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--server", type=Path, default=Path("llama-server"))
    parser.add_argument("--peer-only", action="store_true")
    args = parser.parse_args()
    with servers(args) as both:
        for turn in range(args.rounds):
            for server in both if turn % 2 else both[::-1]:
                seed = SEED + turn  # the same for both
                bear(
                    server,
                    questions(random.Random(seed)),
                    args.clients,
                    args.seconds / args.rounds,
                    random.Random(seed),
                )
        print(
            "\n| | characters/s | first token | p95 | finished | right | left | as when alone |"
            " another's | errors | memory |"
        )
        print("|---|" + "---|" * 10)
        for server in both:
            compare(server, random.Random(SEED))
            load = server.load
            first = (
                f"{median(load.first_s) * 1000:.0f} ms |"
                f" {quantiles(load.first_s, n=20)[-1] * 1000:.0f} ms"
            )
            memory = " ".join(f"{nbytes >> 20}" for nbytes in load.memory)
            counts = (
                f"{load.finished} | {load.right} | {load.left} | {load.same} of {load.again}"
                f" | {len(load.wrong)} | {len(load.errors)}"
            )
            print(
                f"| {server.name} | {load.characters / load.seconds:,.0f} | {first} |"
                f" {counts} |"
                f" {memory} MiB |"
            )
            for line in (*load.wrong[:3], *load.errors[:3]):
                print(f"  {line}")
        if len(both) > 1:
            ratio = (
                both[1].load.characters
                / both[1].load.seconds
                / (both[0].load.characters / both[0].load.seconds)
            )
            print(f"\nthroughput: {ratio:.2f} of llama-server's")


if __name__ == "__main__":
    main()
