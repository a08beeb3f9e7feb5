"""One model on three machines, which are network namespaces with a memory cgroup each: the same
tokens as on one machine, memory against the plan, speed against the forecast, one machine killed.

    python tests/benchmarks/rpc_namespaces.py [FOLDER] [--mib N] [--tokens N] [--parts memory,speed]

The model is nano with ballast: 3 GB in Q8_0, which none of them holds alone. Latencies are round
trips, by ``tc netem`` where the kernel has it; where it has not, by a relay in the client's
namespace that holds back everything for half of it in each direction. Needs root, iproute2, a
memory cgroup, and ``dslocal build-rpc``. The model is kept in FOLDER, to be used again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano.ballast import add_ballast
from support.machines.cgroup_limit import confined, kills

from dslocal.home.paths import bundled

BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
MIB = 1 << 20
PORT = 50052
LATENCIES_MS = (0.0, 0.1, 1.0, 10.0)
LAYERS = 100  # of ballast: 3 GB
GREEDY = ["--temperature", "0", "--mtp", "off", "--cold", "--ctx", "4096"]
QUESTION = "What is 47 × 86?"
# More than a micro-batch of 512 tokens: buffers are resident once they have been written to.
LONG_PROMPT = "What is the capital of Peru? " * 90
LONG_QUESTION = "What is 12 * (3 + 4) - 5 * (6 + 7) + 8 * 9?"


@dataclass
class Machine:
    """A namespace and a cgroup, with a worker unless it is the client's."""

    name: str
    address: str
    prefix: list[str]
    worker: subprocess.Popen[bytes] | None = None

    def command(self, *args: str) -> list[str]:
        # ip netns exec would hide the cgroups: it mounts another /sys
        return ["nsenter", f"--net=/var/run/netns/{self.name}", *self.prefix, BINARY, *args]

    def anonymous_bytes(self) -> int:
        """Return the memory of the cgroup's processes that is no file's."""
        box = Path(self.prefix[-1])
        report = (box / "memory.stat").read_text().splitlines()
        found = dict(line.split() for line in report)
        return int(found.get("total_rss", found.get("anon", 0)))


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


@contextlib.contextmanager
def network(count: int) -> Iterator[list[str]]:
    """Yield the names of a client's namespace and ``count`` workers', joined by veth pairs."""
    names = [f"dslocal{os.getpid()}n{number}" for number in range(count + 1)]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate(names[1:], 1):
            here, there = (f"c{number}", f"w{number}")
            ip("-n", names[0], "link", "add", here, "type", "veth", "peer", there, "netns", name)
            for namespace, link, host in ((names[0], here, 1), (name, there, 2)):
                ip("-n", namespace, "addr", "add", f"10.77.{number}.{host}/24", "dev", link)
                ip("-n", namespace, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def netem(names: list[str], milliseconds: float) -> bool:
    """Delay each direction by half of a round trip; False where the kernel has no netem."""
    for number, name in enumerate(names[1:], 1):
        for namespace, link in ((names[0], f"c{number}"), (name, f"w{number}")):
            command = ["ip", "netns", "exec", namespace, "tc", "qdisc", "replace", "dev", link]
            command += ["root", "netem", "delay", f"{milliseconds / 2}ms"]
            if subprocess.run(command, check=False, capture_output=True).returncode:
                return False
    return True


def relay_connection(ours: socket.socket, theirs: socket.socket, delay: float) -> None:
    """Pass bytes on, in order, each piece ``delay`` seconds after it came."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = pieces.get()
                left = due - time.monotonic()
                if left > 0:
                    time.sleep(left)
                if not data:
                    theirs.shutdown(socket.SHUT_WR)
                    return
                theirs.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := ours.recv(1 << 20):
            pieces.put((time.monotonic() + delay, data))
    pieces.put((time.monotonic() + delay, b""))


def run_relay(listen: int, address: str, port: int, delay: float) -> None:
    """Relay a port of 127.0.0.1 until killed."""
    with socket.create_server(("127.0.0.1", listen)) as server:
        while True:
            client = server.accept()[0]
            try:
                worker = socket.create_connection((address, port))
            except OSError:
                client.close()
                continue
            for one in (client, worker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, worker), (worker, client)):
                threading.Thread(target=relay_connection, args=(*pair, delay), daemon=True).start()


@contextlib.contextmanager
def delayed(
    names: list[str], workers: list[Machine], milliseconds: float
) -> Iterator[tuple[str, str]]:
    """Yield the endpoints to use, and how they are delayed."""
    direct = [f"{worker.address}:{PORT}" for worker in workers]
    if not milliseconds:
        yield ",".join(direct), "none"
        return
    if netem(names, milliseconds):
        yield ",".join(direct), "netem"
        return
    relays = []
    for number, worker in enumerate(workers):
        for more in (0, 1):
            command = ["ip", "netns", "exec", names[0], sys.executable, __file__, "--relay"]
            command += [f"{51000 + 10 * number + more}", worker.address, f"{PORT + more}"]
            relays.append(subprocess.Popen([*command, f"{milliseconds / 2000}"]))
    time.sleep(1.5)
    try:
        yield ",".join(f"127.0.0.1:{51000 + 10 * n}" for n in range(len(workers))), "relay"
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()


def model_file(folder: Path) -> Path:
    out = folder / "nano-3gb.gguf"
    if not out.exists():
        with tempfile.TemporaryDirectory(dir=folder) as source:
            parameters = add_ballast(bundled("nano"), Path(source), LAYERS)
            print(f"nano with ballast: {parameters / 1e6:,.0f} million parameters", flush=True)
            convert = [BINARY, "convert", source, "-o", str(out), "--quant", "Q8_0"]
            subprocess.run(convert, check=True)
    return out


def asked(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode not in (0, 5):
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr.decode()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tokens_of(answer: dict[str, Any]) -> list[int]:
    return [entry["id"] for entry in answer["logprobs"]]


def start_worker(machine: Machine) -> None:
    command = machine.command("worker", "--host", machine.address, "--port", str(PORT))
    machine.worker = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    assert machine.worker.stderr is not None
    for line in machine.worker.stderr:
        if b"--rpc" in line:
            break
    threading.Thread(target=machine.worker.stderr.read, daemon=True).start()


def peak_while(machine: Machine, stop: threading.Event, peaks: dict[str, int]) -> None:
    """Keep the largest anonymous memory of a machine until ``stop``."""
    while not stop.wait(0.05):
        peaks[machine.name] = max(peaks.get(machine.name, 0), machine.anonymous_bytes())


def measure_memory(client: Machine, workers: list[Machine], file: Path, rpc: str) -> None:
    """Print planned against measured memory of every machine."""
    before = {worker.name: worker.anonymous_bytes() for worker in workers}
    options = ["--rpc", rpc, "--ctx", "4096"]
    planned = asked(client.command("fit", str(file), "--json", *options))
    stop, peaks = (threading.Event(), dict[str, int]())
    threads = [
        threading.Thread(target=peak_while, args=(machine, stop, peaks))
        for machine in (client, *workers)
    ]
    command = client.command("ask", "-m", str(file), "--rpc", rpc, *GREEDY, "--max-tokens", "8")
    running = subprocess.Popen(
        [*command, LONG_PROMPT], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    resident = [0]
    for thread in threads:
        thread.start()
    while running.poll() is None:
        resident.append(resident_bytes(client) or resident[-1])
        time.sleep(0.05)
    stop.set()
    print("| machine | layers | planned MiB | measured MiB | ratio |\n|---|---|---|---|---|")
    by_endpoint = {share["endpoint"]: share for share in planned["machines"]}
    for worker, endpoint in zip(workers, rpc.split(","), strict=True):
        share = by_endpoint.get(endpoint)
        if share is None:
            print(f"| {endpoint} | 0 | 0 | – | – |")
            continue
        grown = peaks[worker.name] - before[worker.name]
        print_memory(endpoint, share["layers"], share["total"], grown)
    here = planned["memory"]["host"]
    # while it loads, all of the file is mapped; at the end what stays here
    print_memory("here", by_endpoint[""]["layers"], here, max(resident[-20:-2]))
    killed = {machine.name: kills(machine.prefix) for machine in (client, *workers)}
    print(f"killed by the kernel: {sum(killed.values())}")


def print_memory(name: str, layers: int, planned: int, measured: int) -> None:
    numbers = f"{planned / MIB:,.0f} | {measured / MIB:,.0f} | {measured / planned:.3f}"
    print(f"| {name} | {layers} | {numbers} |", flush=True)


def resident_bytes(machine: Machine) -> int:
    """Return the resident memory of a machine's largest process."""
    sizes = [0]
    for line in (Path(machine.prefix[-1]) / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            report = Path(f"/proc/{line}/status").read_text()
            sizes.append(1024 * int((re.search(r"VmRSS:\s+(\d+)", report) or [0, 0])[1]))
    return max(sizes)


def measure_speed(
    names: list[str], client: Machine, workers: list[Machine], file: Path, tokens: int
) -> None:
    """Print forecast and measured speed at every latency, and whether the tokens are the same."""
    alone = [BINARY, "ask", "-m", str(file), *GREEDY, "--json", "--logprobs", "0"]
    alone += ["--max-tokens", str(tokens), QUESTION]
    wanted = asked(alone)
    print(f"on one machine: {wanted['timings']['tokens_per_s']:.2f} tokens/s")
    print(
        "| latency | by | measured round trips | forecast | measured | ratio | same tokens |\n"
        "|---|---|---|---|---|---|---|"
    )
    for milliseconds in LATENCIES_MS:
        with delayed(names, workers, milliseconds) as (rpc, how):
            fit = client.command("fit", str(file), "--json", "--rpc", rpc, "--ctx", "4096")
            planned = asked(fit)
            trips = [1000 * share["round_trip_s"] for share in planned["machines"]]
            command = client.command("ask", "-m", str(file), "--rpc", rpc, *GREEDY, "--json")
            answer = asked([*command, "--logprobs", "0", "--max-tokens", str(tokens), QUESTION])
        low, high = (planned["tokens_per_s"][end] for end in ("low", "high"))
        forecast = 1 / sum(share["seconds"] for share in planned["machines"])
        measured = answer["timings"]["tokens_per_s"]
        row = [
            f"{milliseconds} ms",
            how,
            ", ".join(f"{trip:.2f}" for trip in trips if trip) + " ms",
            f"{forecast:.2f} ({low}–{high})",
            f"{measured:.2f}",
            f"{measured / forecast:.2f}",
            "yes" if tokens_of(answer) == tokens_of(wanted) else "NO",
        ]
        print("|", " | ".join(row), "|", flush=True)


def kill_one(client: Machine, workers: list[Machine], file: Path, rpc: str) -> None:
    """Kill the last worker in the middle of an answer, and print what is said, then and next."""
    command = client.command("ask", "-m", str(file), "--rpc", rpc, *GREEDY, "--max-tokens", "2000")
    running = subprocess.Popen(
        [*command, LONG_QUESTION], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    lost = workers[-1]
    while running.poll() is None and not lost_is_computing(lost):
        time.sleep(0.05)
    time.sleep(2)
    assert lost.worker is not None
    os.killpg(lost.worker.pid, signal.SIGKILL)
    began = time.monotonic()
    said = running.communicate()[1].decode().strip().splitlines()[-1]
    seconds = time.monotonic() - began
    print(f"killed {lost.address} in mid-answer: exit {running.returncode} after {seconds:.2f} s")
    print(f"  {said}")
    after = subprocess.run(
        client.command("ask", "-m", str(file), "--rpc", rpc, *GREEDY, QUESTION),
        capture_output=True,
        check=False,
    )
    print(f"the next start: exit {after.returncode}\n  {after.stderr.decode().strip()}")


def lost_is_computing(machine: Machine) -> bool:
    """Return whether a worker has received most of its weights."""
    return machine.anonymous_bytes() > 800 * MIB


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--mib", type=int, default=1536)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--parts", default="memory,speed,kill")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = model_file(given.folder)
    subprocess.run([BINARY, "fit", "nano"], check=True, capture_output=True)  # measures the machine
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(network(2))
        machines = []
        for number, name in enumerate(names):
            size = given.mib * MIB + 4096 * number  # a cgroup is named by its size
            prefix = stack.enter_context(confined(size))
            machines.append(Machine(name, f"10.77.{number}.2", prefix))
        client, *workers = machines
        stack.callback(stop_workers, workers)
        for worker in workers:
            start_worker(worker)
        rpc = ",".join(f"{worker.address}:{PORT}" for worker in workers)
        parts = given.parts.split(",")
        if "memory" in parts:
            measure_memory(client, workers, file, rpc)
        if "speed" in parts:
            measure_speed(names, client, workers, file, given.tokens)
        if "kill" in parts:
            kill_one(client, workers, file, rpc)


def stop_workers(workers: list[Machine]) -> None:
    for worker in workers:
        if worker.worker is not None and worker.worker.poll() is None:
            os.killpg(worker.worker.pid, signal.SIGKILL)
            worker.worker.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--relay"]:
        run_relay(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
