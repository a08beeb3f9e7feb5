"""One model on several machines, which are network namespaces with a memory cgroup each: the same
tokens as on one machine, memory against the plan, speed against the forecast, one machine killed.

    python tests/benchmarks/rpc_namespaces.py [FOLDER] [--workers N] [--mib N] [--tokens N]
        [--parts memory,speed,kill]

The model is nano with ballast: 3.0 GB in Q8_0, which none of them holds alone. Three workers get
all layers (``--n-gpu-layers 999``), because with the client's memory two of them would do; two
workers share them with the client. Latencies are round trips, by ``tc netem`` where the kernel has
it; where it has not, by a relay in the client's namespace that holds back everything for half of it
in each direction. Needs root, iproute2, a memory cgroup, and ``dslocal build-rpc``. The model is
kept in FOLDER, to be used again.

All machines are one, so that they share its cores and its memory's bandwidth. A token is computed
by one machine after another, so on a quiet host each has all of it while its turn lasts, and the
forecast holds; on a busy host nothing runs as fast as was measured for the forecast. Therefore each
row also has the speed of one machine, measured just before, and what follows from it with the round
trips added: "expected". The ratio to that is what the network and RPC cost beyond the forecast.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano.ballast import add_ballast
from support.machines.cgroup_limit import confined, kills
from support.machines.namespaces import network
from support.machines.network_delay import Address, delayed

from dslocal.home.paths import bundled

BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
MIB = 1 << 20
PORT = 50052
LATENCIES_MS = (0.0, 0.1, 1.0, 10.0)
FEWEST_WORKERS = 2  # which hold the model together with the client
LAYERS = 107  # of ballast: 3.0 GB
CONTEXT = "4096"
GREEDY = ["--temperature", "0", "--mtp", "off", "--cold", "--ctx", CONTEXT]
ALL_AWAY = ["--n-gpu-layers", "999"]
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


@dataclass
class Cluster:
    """All machines, and the model that they run.

    Attributes:
        names: the namespaces, the client's first.
        client: the machine that has the file.
        workers: the machines that lend their memory.
        file: the model.
        options: how its layers are dealt out, besides the machines.
    """

    names: list[str]
    client: Machine
    workers: list[Machine]
    file: Path
    options: list[str]

    @property
    def rpc(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.endpoints)

    @property
    def endpoints(self) -> list[Address]:
        return [(worker.address, PORT) for worker in self.workers]

    def ask(self, rpc: str, *options: str) -> list[str]:
        """Return the command that asks the model over ``rpc``."""
        spread = ["--rpc", rpc, *self.options]
        return self.client.command("ask", "-m", str(self.file), *spread, *GREEDY, *options)

    def plan(self, rpc: str) -> dict[str, Any]:
        """Return the plan and forecast over ``rpc``."""
        options = ["--json", "--ctx", CONTEXT, "--rpc", rpc, *self.options]
        return asked(self.client.command("fit", str(self.file), *options))


def model_file(folder: Path) -> Path:
    out = folder / f"nano-{LAYERS}.gguf"
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


def measure_memory(cluster: Cluster) -> None:
    """Print planned against measured memory of every machine."""
    client, workers = (cluster.client, cluster.workers)
    alone = asked(client.command("fit", str(cluster.file), "--json", "--ctx", CONTEXT))
    print(f"the client alone: {alone['verdict']}, {alone['lacking'] / MIB:,.0f} MiB are missing")
    before = {worker.name: worker.anonymous_bytes() for worker in workers}
    planned = cluster.plan(cluster.rpc)
    stop, peaks = (threading.Event(), dict[str, int]())
    threads = [
        threading.Thread(target=peak_while, args=(machine, stop, peaks)) for machine in workers
    ]
    running = subprocess.Popen(
        cluster.ask(cluster.rpc, "--max-tokens", "8", LONG_PROMPT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
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
    for worker, endpoint in zip(workers, cluster.rpc.split(","), strict=True):
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
    """Return what a machine's largest process has in memory: its own, libraries, and the model."""
    sizes = [0]
    for line in (Path(machine.prefix[-1]) / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{line}/smaps_rollup").read_text()
            sizes += [1024 * int(size) for size in re.findall(r"(?m)^Rss: +(\d+) kB", rollup)]
    return max(sizes)


def measure_speed(cluster: Cluster, tokens: int) -> None:
    """Print forecast and measured speed at every latency, and whether the tokens are the same."""
    file = str(cluster.file)
    answer_of = ["--json", "--logprobs", "0", "--max-tokens", str(tokens), QUESTION]
    local = asked([BINARY, "fit", file, "--json", "--ctx", CONTEXT])["tokens_per_s"]
    forecast = (local["low"] * local["high"]) ** 0.5
    print(f"one machine, forecast: {forecast:.2f} ({local['low']}–{local['high']}) tokens/s")
    print(
        "| latency | by | round trips | forecast | measured | ratio | one machine | expected "
        "| ratio | same tokens |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for milliseconds in LATENCIES_MS:
        alone = asked([BINARY, "ask", "-m", file, *GREEDY, *answer_of])
        with delayed(cluster.names, cluster.endpoints, milliseconds) as (endpoints, how):
            rpc = ",".join(f"{host}:{port}" for host, port in endpoints)
            shares = cluster.plan(rpc)["machines"]
            answer = asked(cluster.ask(rpc, *answer_of))
        trips = [share["round_trip_s"] for share in shares if share["round_trip_s"]]
        planned = 1 / sum(share["seconds"] for share in shares)
        measured = answer["timings"]["tokens_per_s"]
        here = alone["timings"]["tokens_per_s"]
        expected = 1 / (1 / here + sum(trips))
        row = [
            f"{milliseconds} ms",
            how,
            ", ".join(f"{1000 * trip:.2f}" for trip in trips) + " ms",
            f"{planned:.2f}",
            f"{measured:.2f}",
            f"{measured / planned:.2f}",
            f"{here:.2f}",
            f"{expected:.2f}",
            f"{measured / expected:.2f}",
            "yes" if tokens_of(answer) == tokens_of(alone) else "NO",
        ]
        print("|", " | ".join(row), "|", flush=True)


def kill_one(cluster: Cluster) -> None:
    """Kill the last worker in the middle of an answer, and print what is said, then and next."""
    command = cluster.ask(cluster.rpc, "--no-think", LONG_QUESTION)
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lost = cluster.workers[-1]
    assert lost.worker is not None
    assert running.stdout is not None
    first = running.stdout.read(1)  # the answer has started
    os.killpg(lost.worker.pid, signal.SIGKILL)
    began = time.monotonic()
    said = running.communicate()[1].decode().strip().splitlines()[-1]
    seconds = time.monotonic() - began
    print(f"killed {lost.address} in mid-answer: exit {running.returncode} after {seconds:.2f} s")
    print(f"  {said}")
    if not first:
        raise SystemExit("it was killed before the answer began")
    after = subprocess.run(cluster.ask(cluster.rpc, QUESTION), capture_output=True, check=False)
    print(f"the next start: exit {after.returncode}\n  {after.stderr.decode().strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--workers", type=int, choices=range(2, 8), default=3)
    parser.add_argument("--mib", type=int, default=1536)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--parts", default="memory,speed,kill")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = model_file(given.folder)
    subprocess.run([BINARY, "fit", "nano"], check=True, capture_output=True)  # measures the machine
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(network(given.workers))
        machines = []
        for number, name in enumerate(names):
            size = given.mib * MIB + 4096 * number  # a cgroup is named by its size
            prefix = stack.enter_context(confined(size))
            machines.append(Machine(name, f"10.77.{number}.2", prefix))
        client, *workers = machines
        stack.callback(stop_workers, workers)
        for worker in workers:
            start_worker(worker)
        options = ALL_AWAY if given.workers > FEWEST_WORKERS else []
        cluster = Cluster(names, client, workers, file, options)
        parts = given.parts.split(",")
        if "memory" in parts:
            measure_memory(cluster)
        if "speed" in parts:
            measure_speed(cluster, given.tokens)
        if "kill" in parts:
            kill_one(cluster)


def stop_workers(workers: list[Machine]) -> None:
    for worker in workers:
        if worker.worker is not None and worker.worker.poll() is None:
            os.killpg(worker.worker.pid, signal.SIGKILL)
            worker.worker.wait()


if __name__ == "__main__":
    main()
