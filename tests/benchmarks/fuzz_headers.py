"""Feeds the converter damaged checkpoints for a while: ``python tests/benchmarks/fuzz_headers.py
[seconds] [first seed]``.

Headers, index, config.json and the tokenizer's files of every base in ``damage.BASES``, changed by
``mutations``. It fails on anything but a GGUF or a DslocalError, on a file that is left, a case of
over 5 s, 64 MiB more memory within a case or 64 MiB more at the end; and, as each GGUF's vocabulary
(with ``--load`` all of it) is loaded, on whatever ends the process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.checkpoints.fuzzer import Failed, Fuzzer, bases

from dslocal.engine import LlamaModel
from dslocal.errors import DslocalError

GROWTH = 64 << 20
WARM = 300  # cases before memory is measured
SEED = "seed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=120)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument(
        "--load", action="store_true", help="load the whole model, not its vocabulary alone"
    )
    parser.add_argument("--in", dest="work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return child(options.work, options.seconds, options.first, load=options.load)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as work:
        command = [
            sys.executable,
            __file__,
            str(options.seconds),
            str(options.first),
            "--in",
            work,
            *(["--load"] if options.load else []),
        ]
        code = subprocess.run(
            command, check=False, env={**os.environ, "GGML_NO_BACKTRACE": "1"}
        ).returncode
        if code < 0:
            print(f"FAILED: signal {-code} at seed {(Path(work) / SEED).read_text()}")
    return int(code != 0)


def child(work: Path, seconds: float, seed: int, *, load: bool) -> int:
    fuzzers = [Fuzzer(base, work) for base in bases()]
    began = time.monotonic()
    first = seed
    base_rss = 0
    failures = 0
    slowest, largest = 0.0, 0
    endings: Counter[str] = Counter()
    look = opener(load=load)
    while time.monotonic() - began < seconds:
        (work / SEED).write_text(str(seed))
        before, start = reset_peak(), time.monotonic()
        try:
            ending = fuzzers[seed % len(fuzzers)].attempt(seed, look)
        except Failed as e:
            print(f"FAILED: {e}")
            failures += 1
            ending = "FAILED"
        endings[kind(ending)] += 1
        slowest, grown = max(slowest, time.monotonic() - start), peak() - before
        if seed - first >= WARM:
            base_rss = base_rss or before
            largest = max(largest, grown)
            if grown > GROWTH:
                print(f"FAILED: seed {seed}: {grown >> 20} MiB more memory: {ending:.200}")
                failures += 1
        seed += 1
    end = peak() - base_rss
    if end > GROWTH:
        print(f"FAILED: {end >> 20} MiB more memory at the end")
        failures += 1
    for words, count in endings.most_common(60):
        print(f"{count:7} {words}")
    print(
        (
            f"{seed - first} cases in {seconds:g} s, {endings['converted']} converted, {failures}"
            f" failures;"
        ),
        end=" ",
    )
    print(
        f"slowest {slowest:.2f} s, at most {largest >> 20} MiB more in a case, {end >> 20} MiB"
        f" more at the end"
    )
    return int(failures > 0)


def opener(*, load: bool) -> Callable[[Path], None]:
    def look(path: Path) -> None:
        with contextlib.suppress(DslocalError):
            LlamaModel(path, vocab_only=not load).close()

    return look


def kind(ending: str) -> str:
    """An error's message without the names and numbers in it."""
    return (
        re.sub(r"\d[\d,.]*|'[^']*'|\"[^\"]*\"|\[.*\]", "#", ending.rsplit(": ", 1)[-1])[:70]
        if ending
        else "converted"
    )


def reset_peak() -> int:
    """Forgets the highest resident size so far; returns the present one, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0


if __name__ == "__main__":
    sys.exit(main())
