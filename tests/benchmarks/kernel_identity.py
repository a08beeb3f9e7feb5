"""Do the kernels write ggml's bytes? Many weights of every type, at every level of the processor.

    python tests/benchmarks/kernel_identity.py [--weights N] [TYPE ...]

At least N weights (10^8 by default) of each TYPE (all that have a kernel): the rows of
tests/support/quantization with every matrix, under one seed after another, and the weights of nano.
One line for each type; exits with 1 where a byte differs. An hour and more for all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from support.quantization.kernel_cases import GRIDS, KERNEL_TYPES, NEEDS_MATRIX, Case, cases_of

import dslocal
from dslocal.convert.kernels import Kernels, compiled_levels, init_quantization, quantize_with_ggml
from dslocal.convert.quantize import E4M3, round_to_bf16
from dslocal.gguf.tensor_types import GgmlType

COLUMNS = (256, 1280, 4096, 7168)
ROWS = 7


def nano_cases(kind: GgmlType) -> Iterator[Case]:
    """Yield nano's matrices, those whose rows are whole blocks, each without and with a matrix."""
    r = np.random.default_rng(0)
    block = 128  # rows and columns of FP8 that share a scale
    for path in sorted((Path(dslocal.__file__).parent / "nano").glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            data = np.frombuffer(file.read(), np.uint8)
        for name, tensor in header.items():
            if tensor.get("dtype") not in ("BF16", "F8_E4M3") or tensor["shape"][-1] % 256:
                continue
            raw = data[slice(*tensor["data_offsets"])]
            if tensor["dtype"] == "BF16":
                values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
                values = values.reshape(-1, tensor["shape"][-1])
            else:
                scales = header[f"{name}_scale_inv"]
                each = data[slice(*scales["data_offsets"])].view(np.float32)
                each = each.reshape(scales["shape"]).repeat(block, 0).repeat(block, 1)
                values = E4M3[raw].reshape(tensor["shape"])
                values = round_to_bf16(values * each[: values.shape[0], : values.shape[1]])
            matrix = r.random((values.shape[1],), np.float32)
            if kind not in NEEDS_MATRIX:
                yield Case(name, values, None, False)
            yield Case(f"{name} with a matrix", values, matrix, False)


def all_cases(kind: GgmlType) -> Iterator[Case]:
    """Yield nano's weights, then rows of every kind under ever new seeds."""
    yield from nano_cases(kind)
    for seed in itertools.count(100):
        yield from cases_of(kind, seed, ROWS, COLUMNS[seed % len(COLUMNS)])


def compare(kind: GgmlType, least: int, levels: list[Kernels]) -> int:
    """Compare at least so many weights, and return how many bytes differ."""
    init_quantization(kind)
    weights = differing = 0
    for case in all_cases(kind):
        if case.is_wild and kind in GRIDS:
            continue
        expected = quantize_with_ggml(kind, case.values, case.importance)
        for kernels in levels:
            written = kernels.quantize(kind, case.values, case.importance)
            count = int(np.count_nonzero(written != expected))
            if count:
                print(f"{kind.name}, {kernels.level}, {case.name}: {count} bytes", flush=True)
            differing += count
        weights += case.values.size
        if weights >= least:
            break
    names = ", ".join(kernels.level for kernels in levels)
    print(f"{kind.name}: {weights:,} weights, {differing} bytes differ ({names})", flush=True)
    return differing


def main() -> None:
    """Compare all types."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=float, default=1e8)
    parser.add_argument("--level", help="only this level, such as x86-64-v3")
    parser.add_argument("types", nargs="*", default=[kind.name for kind in KERNEL_TYPES])
    arguments = parser.parse_args()
    levels = [Kernels(path) for path in compiled_levels().values()]
    levels = [k for k in levels if k.needed_level <= k.processor_level]
    if arguments.level:
        levels = [k for k in levels if k.level == arguments.level]
    counts = [compare(GgmlType[t], int(arguments.weights), levels) for t in arguments.types]
    sys.exit(1 if any(counts) else 0)


if __name__ == "__main__":
    main()
