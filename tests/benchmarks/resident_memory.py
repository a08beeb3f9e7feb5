"""The memory that plans promise against what their runs have resident.

    python tests/benchmarks/resident_memory.py FILE[:CTX[:KV]] …

Each file is planned for this machine and run by its plan, in a process of its own: a full
micro-batch, then tokens one by one. Resident is what smaps says: private memory, the pages of
libraries, and of the model's file those that are read again after all of them have been dropped.
(A mapping brings the whole file in at first, with an MTP layer that nobody asked for.)
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from dslocal.api.load_options import overrides
from dslocal.gguf.parts import read_parts
from dslocal.plan.machine.probe import probe_machine
from dslocal.plan.search import make_plan

MIB = 1 << 20
DONTNEED = 4  # MADV_DONTNEED of Linux
HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)$")
ROUNDS = 2  # micro-batches of other tokens, so that most rows of the embeddings are read


class Mapping(NamedTuple):
    """One mapping of smaps: its addresses, the file behind it, and its sizes in bytes."""

    start: int
    end: int
    path: str
    sizes: dict[str, int]


def mappings() -> list[Mapping]:
    found: list[Mapping] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if head := HEAD.match(line):
            found.append(Mapping(int(head[1], 16), int(head[2], 16), head[3], {}))
        elif size := re.match(r"(\w+):\s+(\d+) kB", line):
            found[-1].sizes[size[1]] = int(size[2]) << 10
    return found


def drop_pages(file: str) -> None:
    """Unmap the pages of a mapped file; they stay in the page cache."""
    libc = ctypes.CDLL(None)
    for one in mappings():
        if one.path == file:
            libc.madvise(ctypes.c_void_p(one.start), ctypes.c_size_t(one.end - one.start), DONTNEED)


def resident() -> int:
    return sum(one.sizes["Rss"] for one in mappings())


def run(path: Path, asked: dict[str, Any]) -> None:
    """Print what the plan promises and what its run has resident, in a process of its own."""
    from dslocal.engine import LlamaContext, LlamaModel

    header = read_parts(path)[1]
    planned = make_plan(header, probe_machine(), overrides(**asked))
    config = planned.load_config
    began = time.perf_counter()
    with LlamaModel(path, config) as model:
        loaded = time.perf_counter() - began
        with LlamaContext(model, config) as context:
            vocabulary = len(header.tokens())
            step = max(1, vocabulary // config.n_ubatch)
            drop_pages(str(path))
            for start in range(ROUNDS):
                first = start * step // ROUNDS
                ids = [(first + n * step) % vocabulary for n in range(config.n_ubatch)]
                context.evaluate(ids)
                context.evaluate(ids[:1])
            found = resident()
    promised = planned.memory.all.host
    print(
        json.dumps(
            {
                "n_ctx": config.n_ctx,
                "kv": config.kv_type.name,
                "mode": config.load_mode + ("+repack" if config.repack else ""),
                "promised": promised,
                "resident": found,
                "seconds": loaded,
            }
        )
    )


def main() -> None:
    if sys.argv[1] == "--child":
        run(Path(sys.argv[2]), json.loads(sys.argv[3]))
        return
    print(
        f"{'':34}{'ctx':>6}{'KV':>6} {'mode':12}{'promised':>10}{'resident':>10}{'off by':>8}  load"
    )
    for argument in sys.argv[1:]:
        name, *rest = argument.split(":")
        asked: dict[str, Any] = {"n_ctx": int(rest[0])} if rest else {}
        if len(rest) > 1:
            asked["kv_type"] = rest[1]
        path = Path(name).resolve()
        command = [sys.executable, "-P", __file__, "--child", str(path), json.dumps(asked)]
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        promised, found = done["promised"] / MIB, done["resident"] / MIB
        print(
            f"{path.name[:33]:34}{done['n_ctx']:6}{done['kv']:>6} {done['mode']:12}"
            f"{promised:10.1f}{found:10.1f}{promised / found - 1:8.1%}  {done['seconds']:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
