"""How fast are the kernels? CPU time against ggml_quantize_chunk's, type by type, in one run.

    python tests/benchmarks/kernel_speed.py [TYPE ...]

Gaussian float32 weights, two threads at once; each number is the best of several. The table has
ggml's millions of weights a second and core, and how many times as fast each level is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from support.quantization.kernel_cases import KERNEL_TYPES, NEEDS_MATRIX

from dslocal.convert.kernels import Kernels, compiled_levels, init_quantization, quantize_with_ggml
from dslocal.gguf.tensor_types import GgmlType

THREADS = 2
REPEATS = 5
SHAPE = (48, 4096)


def seconds(quantize: Callable[[], object]) -> float:
    """Return the least CPU time of a thread that quantizes while another does the same."""

    def once(_: int) -> float:
        began = time.thread_time()
        quantize()
        return time.thread_time() - began

    with ThreadPoolExecutor(THREADS) as pool:
        return min(pool.map(once, range(THREADS * REPEATS)))


def main() -> None:
    """Print the table."""
    r = np.random.default_rng(1)
    values = (r.standard_normal(SHAPE) * 0.02).astype(np.float32)
    importance = (r.random(SHAPE[1]) ** 4 * 10).astype(np.float32)
    levels = [Kernels(path) for path in compiled_levels().values()]
    levels = [k for k in levels if k.needed_level <= k.processor_level]
    print("| type | matrix | ggml, M/s | " + " | ".join(k.level for k in levels) + " |")
    print("|---|---|---|" + "---|" * len(levels))
    for kind in [GgmlType[name] for name in sys.argv[1:]] or KERNEL_TYPES:
        init_quantization(kind)
        for matrix in (None, importance):
            if matrix is None and kind in NEEDS_MATRIX:
                continue
            ggml = seconds(partial(quantize_with_ggml, kind, values, matrix))
            ratios = [ggml / seconds(partial(c.quantize, kind, values, matrix)) for c in levels]
            cells = [
                kind.name,
                "no" if matrix is None else "yes",
                f"{values.size / ggml / 1e6:.1f}",
            ]
            print(
                "| " + " | ".join([*cells, *(f"{ratio:.1f}" for ratio in ratios)]) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
