"""The footprint against llama.cpp's own sizing, over shapes x contexts x KV types x micro-batches x
flash attention; and V3 planned.

    python tests/benchmarks/footprint_exact.py

Nothing is allocated and no weights are read: the files are headers and holes.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.gguf.published_shapes import SHAPES, write_header

from dslocal.engine.sizing.no_alloc import exact_memory_uses
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig, MemoryUse
from dslocal.plan.memory.footprint import footprint

KV = (GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0)
PLAN = """
import resource, sys, time
start = time.perf_counter()
from pathlib import Path
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.load_config import LoadConfig
from dslocal.gguf import read_header
memory = footprint(read_header(Path(sys.argv[1])), LoadConfig(32768))
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = memory.all.total / 2**30
print(f"V3 Q4_K_M, its vocabulary: {size:,.1f} GiB, in {seconds:.2f} s with {peak / 1024:.0f} MiB")
"""


def load_configs() -> list[LoadConfig]:
    combinations = itertools.product(
        (4096, 16384, 32768, 131072), KV, (64, 512, 2048), (True, False)
    )
    return [
        LoadConfig(ctx, kv_type=kv, n_ubatch=u, flash_attn=fa)
        for ctx, kv, u, fa in combinations
        if fa or kv.block == 1
    ]


def main() -> None:
    print(
        f"{'':12}{'combinations':>13}{'KV':>10}{'weights':>10}{'compute':>10}{'total':>10}  "
        f" worst deviation"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in SHAPES:
            path = write_header(Path(folder), name)
            header, settings = read_header(path), load_configs()
            pairs = [
                (footprint(header, one), theirs)
                for one, theirs in zip(settings, exact_memory_uses(path, settings), strict=True)
            ]
            row = [
                max(abs(of(ours) / of(theirs) - 1) for ours, theirs in pairs)
                for of in (_kv, _weights, _compute, _total)
            ]
            print(f"{name:12}{len(pairs):13}" + "".join(f"{worst:10.4%}" for worst in row))
        words = write_header(Path(folder), "v3", words=True)
        subprocess.run([sys.executable, "-P", "-c", PLAN, str(words)], check=True)


def _kv(memory: MemoryUse) -> int:
    return memory.kv.total


def _weights(memory: MemoryUse) -> int:
    return memory.weights.total


def _compute(memory: MemoryUse) -> int:
    return memory.compute.total


def _total(memory: MemoryUse) -> int:
    return memory.all.total - memory.overhead.total


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{time.perf_counter() - start:.1f} s; the largest child took {children / 1024:.0f} MiB")
