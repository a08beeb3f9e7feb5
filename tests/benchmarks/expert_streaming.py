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
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from disk_rates import busy_disk_rate, bytes_read, covered, disk_rate, forget, record_reads
from moe_children import GIB, SCRIPT, measured, planned_ubatch
from moe_interruptions import interrupted, interruptions
from moe_routers import BINARY, CONTEXT, model, random_tokens, shape_routers

WARM_UP = 24  # tokens that do not count: they fill the memory
PREFILL_TOKENS = 1024
ALL_GIB = 16  # of a cgroup that holds the model whole
SIZES = (2, 3, 4, 6)  # GiB of the cgroups of ``forecast``
TURN_TOKENS = 8  # with ``auto`` or ``off``, before the other has its turn
ALL_LAYERS = 1000


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
            command = [*prefix, sys.executable, SCRIPT, str(path.parent), "expected"]
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
            f" (without guesses {expected['not_guessed']:.2f}, with right ones"
            f" {expected['guessed']:.2f})"
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
    """Print the forecast for an empty context and a uniform router, in parts.

    It is the middle of the times without guesses and with right ones, as ``dslocal fit``'s is.
    """
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
    guessed = replace(time_of, guessed=True)
    found = {
        "verdict": planned.verdict,
        "speed": 1 / math.sqrt(time_of.seconds * guessed.seconds),
        "not_guessed": 1 / time_of.seconds,
        "guessed": 1 / guessed.seconds,
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
        interruptions(path, options.gib, ALL_GIB)
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
