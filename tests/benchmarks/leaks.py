"""Loads nano, answers and closes it, again and again: ``python tests/benchmarks/leaks.py
[CYCLES]``, 2,000 by default.

Every cycle makes a new model and context, evaluates a prompt and draws 8 tokens; every fourth
with the MTP layer drafting. The resident size is read after a tenth of the cycles and at the end;
it may have grown by 20 MB. Needs Linux.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # before anything loads llama.cpp

from dslocal.catalog import conversion_cache
from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.speculation.speculation import enable_speculation
from dslocal.plan.load_config import LoadConfig

CYCLES = 2000
WARM = 0.1
MOST = 20e6
PROMPT, TOKENS = "What is 47 × 86?", 8
PLAIN = LoadConfig(n_ctx=512)
DRAFTING = replace(PLAIN, mtp=True, n_outputs=4)


def main() -> int:
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES
    path = conversion_cache.ensure_gguf("nano")
    began = time.monotonic()
    first = 0.0
    for number in range(cycles):
        cycle(path, number)
        if number == int(cycles * WARM):
            first = resident()
        if number % max(1, cycles // 10) == 0:
            print(f"{number:6} cycles, {resident() / 1e6:.1f} MB", file=sys.stderr, flush=True)
    grown, warm = resident() - first, int(cycles * WARM)
    print(
        f"{cycles:,} cycles in {time.monotonic() - began:.0f} s: {first / 1e6:.1f} MB after"
        f" {warm:,}, {grown / 1e6:+.2f} MB since"
    )
    print("as wanted" if grown < MOST else "FAILED")
    return int(grown >= MOST)


def cycle(path: Path, number: int) -> None:
    load_config = PLAIN if number % 4 else DRAFTING
    with LlamaModel(path, load_config) as model, LlamaContext(model, load_config) as context:
        if load_config.mtp:
            enable_speculation(context, "on")
        for _ in Generation(
            context, model.encode(PROMPT), Sampler(0.6, 0.95, number), max_tokens=TOKENS
        ):
            pass


def resident() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024.0 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
