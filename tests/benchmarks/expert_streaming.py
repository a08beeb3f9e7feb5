"""A mixture of experts larger than its memory: streamed, and as llama.cpp reads it through mmap.

    python tests/benchmarks/expert_streaming.py FOLDER decode [--router uniform|zipf] [--gib 4]
    python tests/benchmarks/expert_streaming.py FOLDER prefill|memory
    python tests/benchmarks/expert_streaming.py FOLDER forecast
    python tests/benchmarks/expert_streaming.py FOLDER equal|interrupt|fits

A random V3-shaped model of 7.1 GB in Q8_0 (18 layers of 64 experts, 8 used), kept in FOLDER, in a
memory cgroup; what the page cache holds of the file is dropped before each run. Streaming and mmap
take turns; medians. Tokens are random, and the routers' biases are set so that all experts are
chosen equally often, or the n-th most frequent 1/n as often (Zipf). The disk is measured before and
after the tokens that count, with reads of single experts, as many at a time as streaming has: its
rate differs from minute to minute. Each time it is measured while the cores have nothing else to
do, and while each of them reads memory, as they do for a token. The share of the time in which the
disk had something to read is counted, too. ``memory`` is ``prefill``, and besides with a model that
is in memory whole: what computing alone takes. ``forecast`` compares with ``dslocal fit``'s middle
in 2, 3, 4 and 6 GiB, ``equal`` 200 greedy tokens and 200 with a seed. ``interrupt`` sends Ctrl-C 50
times while tokens or prompts are evaluated, and compares what the model says after each. ``fits``
has memory for the whole model: there, tokens with ``auto`` and with ``off`` take turns.
Needs root. ``--tokens``, ``--repeat`` and ``--guess on|off`` change what is run. ``--gpu`` keeps
all but the experts on a GPU, whose libraries ``LLAMA_CPP_LIB_PATH`` names.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext
    from dslocal.engine.streaming.disk import ReadingWay
    from dslocal.engine.streaming.expert_layout import Extent

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

GIB = 1 << 30
BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
GIGABYTES = 6.6  # of the checkpoint: 7.1 GB in Q8_0
N_VOCAB = 320
FIRST_TOKEN = 3  # those before are special
WARM_UP = 24  # tokens that do not count: they fill the memory
DISK_SECONDS = 1.5  # that the disk is measured for, each time
BUSY_BYTES = 48 << 20  # that each core reads meanwhile, again and again
PREFILL_TOKENS = 1024
CONTEXT = 2048
ALL_GIB = 16  # of a cgroup that holds the model whole
SIZES = (2, 3, 4, 6)  # GiB of the cgroups of ``forecast``
INTERRUPTIONS = 50
LONGEST_WORK = 1.0  # seconds before an interruption
INTERRUPTED_PROMPT = 64  # tokens
ANSWER_TOKENS = 3
HANGS_AFTER = 60  # seconds of one interruption and the answer after it
TURN_TOKENS = 8  # with ``auto`` or ``off``, before the other has its turn
SHAPING_TOKENS = 256
ALL_LAYERS = 1000
SHAPING_STEPS = 600


def model(folder: Path) -> Path:
    """Return the model, made where it is missing."""
    from v3_shape import write_v3_shape

    out = folder / "moe.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    if not out.exists():
        with tempfile.TemporaryDirectory(dir=folder) as source:
            write_v3_shape(Path(source), GIGABYTES)
            subprocess.run(
                [BINARY, "convert", source, "-o", str(out), "--quant", "Q8_0"], check=True
            )
    return out


def random_tokens(count: int) -> list[int]:
    import numpy as np

    found: list[int] = np.random.default_rng(5).integers(FIRST_TOKEN, N_VOCAB, count).tolist()
    return found


def shape_routers(path: Path, router: str) -> None:
    """Set the biases of all routers, in the file, so that experts are chosen as often as wanted.

    What the routers see is taken from the model once; the biases are found on that, step by step,
    as the vendor's own balancing does (DeepSeek-V3, section 2.1.2).
    """
    import numpy as np

    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.engine.graph import EvalCallback, GraphObserver, NodeValues
    from dslocal.engine.graph.graph_tensor import NAME_OFFSET, tensor_at
    from dslocal.engine.streaming.expert_layout import read_layout
    from dslocal.plan.load_config import LoadConfig

    class Inputs(GraphObserver):
        def __init__(self) -> None:
            self.values = NodeValues()
            self.seen: dict[int, Any] = {}

        def wants(self, address: int) -> bool:
            return ctypes.string_at(address + NAME_OFFSET, 15) == b"ffn_moe_logits-"

        def take(self, address: int) -> None:
            node = tensor_at(address)
            layer = int(node.name.rsplit(b"-", 1)[1])
            self.seen[layer] = self.values.copy(node.src[1])[0, 0]

    inputs = Inputs()
    tokens = random_tokens(SHAPING_TOKENS)
    config = LoadConfig(CONTEXT, n_outputs=SHAPING_TOKENS)
    with (
        LlamaModel(path) as loaded,
        LlamaContext(loaded, config, eval_callback=EvalCallback(inputs)) as context,
    ):
        context.evaluate(tokens, logits_from=0)
    layout = read_layout(path)
    shares = []
    with path.open("r+b") as file:
        for layer, seen in inputs.seen.items():
            stored = layout.tensors[f"blk.{layer}.ffn_gate_inp.weight"]
            file.seek(stored.extent.start)
            weights = np.frombuffer(file.read(stored.extent.nbytes), np.float32).reshape(64, -1)
            scores = 1 / (1 + np.exp(-(seen @ weights.T)))
            bias, frequencies = _balanced(scores, router, layer)
            shares.append(float(np.sort(frequencies)[::-1][:32].sum() / frequencies.sum()))
            file.seek(layout.tensors[f"blk.{layer}.exp_probs_b.bias"].extent.start)
            file.write(bias.astype("<f4").tobytes())
    print(f"{router}: half of the experts are chosen {sum(shares) / len(shares):.0%} of the time")


def _balanced(scores: Any, router: str, layer: int) -> tuple[Any, Any]:
    """Return biases with which experts are chosen as often as wanted, and how often they are."""
    import numpy as np

    wanted = np.ones(64) if router == "uniform" else 1 / np.arange(1, 65)
    wanted = np.random.default_rng(layer).permutation(wanted)
    wanted = 8 * wanted / wanted.sum()
    for _ in range(20):  # no expert is chosen more than once for a token
        wanted = np.minimum(1, wanted * 8 / np.minimum(1, wanted).sum())
    bias, step = np.zeros(64), float(scores.std())
    frequencies = np.zeros(64)
    for n in range(SHAPING_STEPS):
        chosen = scores + bias
        groups = np.sort(chosen.reshape(-1, 8, 8), axis=2)[:, :, -2:].sum(axis=2)
        left_out = np.argsort(-groups, axis=1)[:, 4:]
        mask = np.zeros((len(scores), 8))
        np.put_along_axis(mask, left_out, -np.inf, axis=1)
        best = np.argsort(-(chosen + np.repeat(mask, 8, axis=1)), axis=1)[:, :8]
        frequencies = np.bincount(best.ravel(), minlength=64) / len(scores)
        bias += step * np.clip(wanted - frequencies, -0.3, 0.3) * (1 - n / SHAPING_STEPS)
    return bias, frequencies


def child(path: Path, way: str, task: str, tokens: int, guess: str, gpu: bool) -> None:
    """Run one measurement in this process, and print it as JSON."""
    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.engine.measuring.benchmark import measure_prefill
    from dslocal.engine.streaming.lookahead import TRIAL_TOKENS
    from dslocal.plan.load_config import LoadConfig

    config = LoadConfig(CONTEXT)
    if way == "stream":
        config = replace(config, stream_experts=True, n_ubatch=planned_ubatch(path))
    if gpu:
        config = replace(config, n_gpu_layers=ALL_LAYERS, cpu_moe_layers=ALL_LAYERS)
    found: dict[str, Any] = {}
    reads = record_reads()
    with LlamaModel(path, config) as loaded, LlamaContext(loaded, config) as context:
        if context.streamer:
            found["way"] = str(context.streamer.way)
            if guess != "auto":
                context.streamer.allow_guesses(guess == "on")
        if task == "prefill":
            found["tokens_per_s"] = measure_prefill(context, random_tokens(PREFILL_TOKENS))
        else:
            warm_up = TRIAL_TOKENS if context.streamer else WARM_UP  # guesses are decided on then
            for token in random_tokens(warm_up):
                context.evaluate([token])
            quiet, busy = [], []
            if context.streamer:
                quiet.append(disk_rate(path, context.streamer.way))
            if context.streamer:
                busy.append(busy_disk_rate(path, context.streamer.way))
            used = context.streamer.use if context.streamer else None
            read, cpu = bytes_read(), time.process_time()
            reads.clear()
            began = time.perf_counter()
            for token in random_tokens(warm_up + tokens)[warm_up:]:
                context.evaluate([token])
            seconds = time.perf_counter() - began
            found["tokens_per_s"] = tokens / seconds
            found["read_per_token"] = (bytes_read() - read) / tokens
            found["cpu_s_per_token"] = (time.process_time() - cpu) / tokens
            found["reading"] = covered(reads) / seconds
            if context.streamer and used:
                found |= (context.streamer.use - used).as_json()
                busy.append(busy_disk_rate(path, context.streamer.way))
                found["busy_rate"] = sum(busy) / len(busy)
                quiet.append(disk_rate(path, context.streamer.way))
                found["rate"] = sum(quiet) / len(quiet)
    print(json.dumps(found))


def answer(context: LlamaContext) -> str:
    """Return a digest of the logits of a few tokens, from an empty context on."""
    context.clear()
    digest = hashlib.sha256()
    for token in random_tokens(ANSWER_TOKENS):
        context.evaluate([token])
        digest.update(context.logits().tobytes())
    return digest.hexdigest()


def interrupted(path: Path, *, stream: bool) -> None:
    """Print the answer; with streaming, interrupt other work 50 times and answer after each."""
    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.engine.interrupt import abort_on_signal
    from dslocal.plan.load_config import LoadConfig

    config, chance = LoadConfig(CONTEXT), random.Random(1)
    if stream:
        config = replace(config, stream_experts=True, n_ubatch=planned_ubatch(path))
    answers: list[str] = []
    seconds: list[float] = []  # from Ctrl-C to the end
    with LlamaModel(path, config) as loaded, LlamaContext(loaded, config) as context:
        answers.append(answer(context))
        at_work = threading.active_count()
        for n in range(INTERRUPTIONS if stream else 0):
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            size = INTERRUPTED_PROMPT if n % 2 else 1
            wait = chance.uniform(0, LONGEST_WORK)
            began = time.perf_counter()
            stop = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
            try:
                with abort_on_signal(context.abort):
                    stop.start()
                    while True:
                        context.evaluate([chance.randrange(FIRST_TOKEN, N_VOCAB)] * size)
                        if len(context.ids) > CONTEXT // 2:
                            context.clear()
            except KeyboardInterrupt:
                seconds.append(time.perf_counter() - began - wait)
            stop.join()
            answers.append(answer(context))
        faulthandler.cancel_dump_traceback_later()
        threads_left = threading.active_count() - at_work
    print(
        json.dumps(
            {
                "answers": answers,
                "caught": len(seconds),
                "threads_left": threads_left,
                "slowest": max(seconds, default=0.0),
            }
        )
    )


def interruptions(path: Path, gib: float) -> None:
    """Print how many of the answers after interruptions are those of a run through mmap."""
    right = measured(path, ALL_GIB, "mmap", "interrupt", "0", "auto")["answers"][0]
    found = measured(path, gib, "stream", "interrupt", "0", "auto")
    same = sum(one == right for one in found["answers"][1:])
    print(
        f"{found['caught']} interruptions in {gib} GiB: {same} answers after them are bit by bit"
        f" those through mmap; threads left {found['threads_left']};"
        f" the slowest ended {found['slowest']:.2f} s after Ctrl-C"
    )


def take_turns(path: Path, repeat: int) -> None:
    """Print how quick tokens are with ``auto`` and ``off``, planned with memory for the model."""
    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.gguf.header import read_header
    from dslocal.plan.machine.probe import probe_machine
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.search import make_plan

    header, machine = read_header(path), probe_machine()
    wanted = {"auto": None, "off": False}
    config = {
        name: make_plan(
            header, machine, Overrides(n_ctx=CONTEXT, n_gpu_layers=0, stream_experts=value)
        ).load_config
        for name, value in wanted.items()
    }
    seconds: dict[str, list[float]] = {"auto": [], "off": []}
    with contextlib.ExitStack() as opened:
        contexts = {}
        for name in seconds:
            loaded = opened.enter_context(LlamaModel(path, config[name]))
            contexts[name] = opened.enter_context(LlamaContext(loaded, config[name]))
            for token in random_tokens(WARM_UP):
                contexts[name].evaluate([token])
        tokens = random_tokens(TURN_TOKENS)
        for turn in range(repeat):
            for name in sorted(contexts, reverse=bool(turn % 2)):
                began = time.perf_counter()
                for token in tokens:
                    contexts[name].evaluate([token])
                seconds[name].append((time.perf_counter() - began) / TURN_TOKENS)
        streams = contexts["auto"].streamer is not None
    pairs = [auto / off for auto, off in zip(seconds["auto"], seconds["off"], strict=True)]
    low, _, high = quantiles(pairs)
    speeds = {name: 1 / median(found) for name, found in seconds.items()}
    print(
        f"{repeat} turns of {TURN_TOKENS} tokens each, auto streams: {streams}, settings equal:"
        f" {config['auto'] == config['off']}: auto {speeds['auto']:.3f},"
        f" off {speeds['off']:.3f} tokens/s; a token with auto takes {median(pairs) - 1:+.2%}"
        f" (median of pairs; quartiles {low - 1:+.2%}, {high - 1:+.2%})"
    )


def record_reads() -> list[tuple[float, float]]:
    """Return a list that grows by the begin and end of each read past the page cache."""
    from dslocal.engine.streaming.disk import DiskReader

    read, times = DiskReader.read_direct, []

    def timed(self: DiskReader, extent: Extent, memory: memoryview) -> None:
        began = time.perf_counter()
        read(self, extent, memory)
        times.append((began, time.perf_counter()))

    DiskReader.read_direct = timed  # type: ignore[method-assign]
    return times


def covered(times: list[tuple[float, float]]) -> float:
    """Return the seconds in which at least one of these was going on."""
    total, last = 0.0, 0.0
    for began, ended in sorted(times):
        total += max(0.0, ended - max(began, last))
        last = max(last, ended)
    return total


def planned_ubatch(path: Path) -> int:
    """Return the tokens of a micro-batch that a plan takes for streaming in this memory."""
    from dslocal.gguf.header import read_header
    from dslocal.plan.machine.probe import probe_machine
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.search import make_plan

    wanted = Overrides(n_ctx=CONTEXT, n_gpu_layers=0, stream_experts=True)
    return make_plan(read_header(path), probe_machine(), wanted).load_config.n_ubatch


def disk_rate(path: Path, way: ReadingWay) -> float:
    """Return the bytes a second that the disk gives to reads of single experts, at random."""
    from concurrent.futures import ThreadPoolExecutor

    from dslocal.engine.streaming.disk import DiskReader
    from dslocal.engine.streaming.expert_layout import read_layout
    from dslocal.engine.streaming.system_calls import LinuxCalls, page_buffer

    layout = read_layout(path)
    tensors = [tensor for layer in layout.layers.values() for tensor in layer]
    began = time.perf_counter()

    def read(number: int) -> int:
        chance, done = random.Random(number), 0
        buffer = page_buffer(max(tensor.expert_bytes for tensor in tensors))
        while time.perf_counter() - began < DISK_SECONDS:
            tensor = chance.choice(tensors)
            pages = tensor.extent(chance.randrange(tensor.n_experts)).whole_pages()
            reader.read_direct(pages, buffer[: pages.nbytes])
            done += pages.nbytes
        return done

    with DiskReader(layout, LinuxCalls()) as reader, ThreadPoolExecutor(way.threads) as pool:
        nbytes = sum(pool.map(read, range(way.threads)))
        return nbytes / (time.perf_counter() - began)


def busy_disk_rate(path: Path, way: ReadingWay) -> float:
    """Return what :func:`disk_rate` does while every core reads memory."""
    import numpy as np

    values, done = np.ones(BUSY_BYTES // 4, np.float32), threading.Event()

    def add_up() -> None:
        while not done.is_set():
            values.sum()

    workers = [threading.Thread(target=add_up) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    try:
        return disk_rate(path, way)
    finally:
        done.set()
        for worker in workers:
            worker.join()


def bytes_read() -> int:
    """Return what this process has had read from disks so far, ahead or by page faults."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def measured(path: Path, gib: float, *asked: str) -> dict[str, Any]:
    """Return what a child prints that runs in a cgroup of so many GiB."""
    from support.machines.cgroup_limit import confined

    forget(path)
    with confined(round(gib * GIB)) as prefix:
        command = [*prefix, sys.executable, __file__, str(path.parent), "child", *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{asked}: {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def forget(path: Path) -> None:
    """Drop the file from the page cache, and nothing else."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(path: Path, task: str, options: argparse.Namespace) -> None:
    """Print the medians of streaming and mmap, which take turns."""
    runs: dict[str, list[dict[str, Any]]] = {"mmap": [], "stream": []}
    if task == "memory":
        task, runs["memory"] = "prefill", []
    for _ in range(options.repeat):
        for way, found in runs.items():
            tokens = options.tokens if way == "stream" else max(4, options.tokens // 3)
            asked = [way, task, str(tokens), options.guess]
            asked += ["--gpu"] if options.gpu else []
            found.append(measured(path, ALL_GIB if way == "memory" else options.gib, *asked))
            print(f"load {os.getloadavg()[0]:.1f}", way, found[-1], flush=True)
    speeds = {way: median(one["tokens_per_s"] for one in found) for way, found in runs.items()}
    if "memory" in speeds:
        print(f"in memory whole: {speeds['memory']:.2f} tokens/s")
    print(
        f"{task}, {options.router}, {options.gib} GiB: mmap {speeds['mmap']:.2f},"
        f" streamed {speeds['stream']:.2f} tokens/s: {speeds['stream'] / speeds['mmap']:.1f} times"
    )
    if task == "decode":
        shares = []
        for one in runs["stream"]:
            given = one["read_per_token"] * one["tokens_per_s"]
            shares.append((given / one["rate"], given / one["busy_rate"], one["reading"]))
            idle, busy, reading = shares[-1]
            print(
                f"{given / 1e6:,.0f} MB/s, {idle:.0%} of what the disk gives at that depth"
                f" while the cores are idle ({one['rate'] / 1e6:,.0f}), {busy:.0%} of what it gives"
                f" while they read memory ({one['busy_rate'] / 1e6:,.0f}); reading {reading:.0%}"
                f" of the time; {one['cpu_s_per_token']:.3f} CPU seconds a token"
            )
        idle, busy, reading = (median(column) for column in zip(*shares, strict=True))
        print(f"medians {idle:.0%} and {busy:.0%} of the disk's rate, reading {reading:.0%}")


def forecasts(path: Path, options: argparse.Namespace) -> None:
    """Print forecast and measurement for each size of memory."""
    from support.machines.cgroup_limit import confined

    for gib in options.sizes:
        forget(path)
        with confined(gib * GIB) as prefix:
            command = [*prefix, sys.executable, __file__, str(path.parent), "expected"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        expected = json.loads(done.stdout.splitlines()[-1])
        runs = [
            measured(path, gib, "stream", "tokens", str(options.tokens), options.guess)
            for _ in range(options.repeat)
        ]
        speed = median(one["tokens_per_s"] for one in runs)
        print(
            f"{gib} GiB: forecast {expected['speed']:.2f}, measured {speed:.2f} tokens/s:"
            f" {expected['speed'] / speed - 1:+.0%}"
        )
        print(
            f"  forecast: {expected['read'] / 1e6:,.0f} MB a token"
            f" at {expected['ssd_rate'] / 1e6:,.0f} MB/s: {1e3 * expected['ssd']:.0f} ms;"
            f" experts in memory {expected['hit_rate']:.0%};"
            f" multiplying with experts {1e3 * expected['using']:.0f} ms, other weights"
            f" {1e3 * expected['ram']:.0f}, layers {1e3 * expected['layers']:.0f},"
            f" waited for first pieces {expected['waited_share']:.0%}"
        )
        for one in runs:
            read, seconds = one["read_per_token"], 1 / one["tokens_per_s"]
            print(
                f"  measured: {one['tokens_per_s']:.2f} tokens/s, {1e3 * seconds:.0f} ms:"
                f" {read / 1e6:,.0f} MB a token, read {one['reading']:.0%} of the time"
                f" at {read / seconds / one['reading'] / 1e6:,.0f} MB/s"
                f" (disk alone {one['rate'] / 1e6:,.0f}, with busy cores"
                f" {one['busy_rate'] / 1e6:,.0f}); experts in memory"
                f" {1 - read / one['needed_bytes_per_token']:.0%}, hit rate {one['hit_rate']:.0%};"
                f" waited {1e3 * one['waited_s_per_token']:.0f} ms;"
                f" {one['cpu_s_per_token']:.3f} CPU seconds",
                flush=True,
            )


def expected(path: Path) -> None:
    """Print the forecast for an empty context and a uniform router, in parts."""
    from dslocal.api.planning.machines import machine_and_rates, with_ssd_of
    from dslocal.gguf.header import read_header
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.search import make_plan
    from dslocal.plan.speed import forecast_times, weight_reads

    header = read_header(path)
    machine, rates = machine_and_rates()
    planned = make_plan(header, machine, Overrides(n_ctx=CONTEXT))
    config = planned.load_config
    rates = with_ssd_of(path, machine, rates, stream_experts=config.stream_experts)
    empty = replace(config, n_ctx=0)
    time_of, _ = forecast_times(header, empty, planned.memory, machine, rates)
    found = {
        "verdict": planned.verdict,
        "speed": 1 / time_of.seconds,
        "read": time_of.read.ssd,
        "hit_rate": 1 - time_of.read.ssd / weight_reads(header, config).used_in_ram,
        "ssd_rate": time_of.rates.ssd,
        "ram_rate": time_of.rates.ram,
        "waited_share": time_of.waited_share,
    }
    found |= {part: getattr(time_of, part) for part in ("ssd", "using", "ram", "layers")}
    print(json.dumps(found))


def equal(path: Path, gib: float) -> None:
    """Print whether 200 tokens are the same, greedy and with a seed: streamed in a cgroup, and
    through mmap with all the memory.
    """
    from support.machines.cgroup_limit import confined

    asked = [BINARY, "ask", "-m", str(path), "--family", "r1", "--no-math", "--json", "--cold"]
    asked += ["--max-tokens", "200", "--ctx", str(CONTEXT)]
    for drawn in (["--temperature", "0"], ["--temperature", "1", "--top-p", "1", "--seed", "7"]):
        answers = []
        forget(path)
        with confined(round(gib * GIB)) as prefix:
            for command in (
                [*prefix, *asked, *drawn, "--stream-experts", "on", "Tell me a story."],
                [*asked, *drawn, "--stream-experts", "off", "Tell me a story."],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                found = json.loads(done.stdout)
                tokens = found["usage"]["completion_tokens"]  # drafts depend on time, not on this
                answers.append((found["answer"], found["reasoning"], tokens))
        print(" ".join(drawn), "equal" if answers[0] == answers[1] else "DIFFERENT", flush=True)


def main() -> None:
    from dslocal.gguf import libraries

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("task")
    parser.add_argument("child", nargs="*")
    parser.add_argument("--router", choices=("uniform", "zipf", "as it is"), default="uniform")
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="GiB of forecasts")
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--guess", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--gpu", action="store_true", help="all but the experts on a GPU")
    options = parser.parse_args()
    libraries.require()  # before numpy, see there
    path = model(options.folder)
    if options.task == "child":
        way, task, tokens, guess = options.child
        if task == "interrupt":
            interrupted(path, stream=way == "stream")
            return
        child(path, way, task, int(tokens), guess, options.gpu)
    elif options.task == "expected":
        expected(path)
    elif options.task == "equal":
        equal(path, options.gib)
    elif options.task == "interrupt":
        interruptions(path, options.gib)
    elif options.task == "fits":
        take_turns(path, options.repeat)
    else:
        if options.router != "as it is":
            shape_routers(path, options.router)
        if options.task == "forecast":
            forecasts(path, options)
        else:
            compare(path, options.task, options)


if __name__ == "__main__":
    main()
