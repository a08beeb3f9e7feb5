"""How fast is one pass? Against llama.cpp's two steps and against ggml_quantize_chunk alone, in one
run, two threads: wall time, and processor time, which a busy machine distorts less.

    DSLOCAL_ORACLE=FOLDER python tests/benchmarks/convert_speed.py [GIGABYTES] [RECIPE] [matrix]

FOLDER as tests/support/checkpoints/oracle.py says. A random V3-shaped checkpoint (FP8 with block
scales, MLA, experts, the MTP layer left out by both) of GIGABYTES (2.5 by default) is written to a
temporary folder; each contender converts it to RECIPE (Q4_K_M), with an invented importance matrix
if the word "matrix" is given. Bytes written are the process's own
account (/proc/PID/io), peak memory is the largest resident set. Without a matrix, the
last table says what a pass spends its processor time on.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from support.checkpoints.imatrices import write_imatrix
from support.checkpoints.oracle import _CONVERT, ORACLE
from v3_shape import write_v3_shape

import dslocal.convert as converter
from dslocal.convert.checkpoint.safetensors import FP8
from dslocal.convert.kernels import best_kernels, init_quantization, quantize_with_ggml
from dslocal.convert.quantize import through
from dslocal.convert.worker import Worker
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType

THREADS = 2


class Measured(NamedTuple):
    """What a process took: wall and processor seconds, bytes written, peak resident megabytes."""

    wall: float
    cpu: float
    written: int
    peak: float

    def row(self, name: str) -> str:
        return (
            f"| {name} | {self.wall:.1f} | {self.cpu:.1f} | {self.written / 1e9:.2f} |"
            f" {self.peak:,.0f} |"
        )


def timed(command: list[str]) -> Measured:
    """Run a process and measure it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        ["/usr/bin/time", "-v", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    _, report = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{report[-2000:]}")
    (kilobytes,) = re.findall(r"Maximum resident set size \(kbytes\): (\d+)", report)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    written = (after.ru_oublock - before.ru_oublock) * 512
    return Measured(seconds, cpu, written, int(kilobytes) / 1000)


def shares(source: Path, recipe: str) -> None:
    """Print what the processor time of a pass over one shard is spent on, on one thread."""
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(source)), [converter.recipe_named(recipe)]
    )
    worker = Worker(plan.checkpoint, ())
    kernels = best_kernels()
    spent: defaultdict[str, float] = defaultdict(float)  # seconds
    target = source / "written"

    def count(stage: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent[stage] += time.process_time() - began
        return result

    shard = plan.shards[1]
    with plan.checkpoint.source.open(shard) as file, target.open("wb", buffering=0) as out:
        for unit in plan.units(shard):
            kind, via = unit.destinations[0].kind, unit.destinations[0].via
            if kernels is None or kind.block == 1:
                continue
            init_quantization(kind)
            tensor = unit.source
            raw = count("reading", partial(worker._read, unit, file))
            scales = worker._scales_of(tensor, file)
            values = worker._decode(unit, raw, scales)
            rounding = via if tensor.dtype == FP8 else None
            rows = values if rounding is None else through(rounding, values)
            arguments = (unit, raw, scales, kind, rounding)
            blocks = count("both", partial(worker._convert_stored, *arguments))
            count("quantizing", partial(kernels.quantize, kind, rows))
            count("writing", partial(out.write, blocks))
    spent["decoding"] = spent.pop("both") - spent["quantizing"]
    total = sum(spent.values())
    print("\n| reading | decoding | quantizing | writing |\n|---|---|---|---|")
    stages = ("reading", "decoding", "quantizing", "writing")
    print("| " + " | ".join(f"{spent[stage] / total:.0%}" for stage in stages) + " |")


def quantize_alone(path: Path, *, matrix: bool) -> Measured:
    """What ggml_quantize_chunk needs on two threads for as many weights of the same types
    as the file at ``path`` has.
    """
    r = np.random.default_rng(0)
    work = []
    for tensor in read_header(path).tensors:
        if tensor.type.block > 1:
            init_quantization(tensor.type)
            rows = max(1, (1 << 20) // tensor.shape[0])
            total = tensor.elements // tensor.shape[0]
            work += [
                (tensor.type, tensor.shape[0], min(rows, total - at))
                for at in range(0, total, rows)
            ]
    values = {
        columns: r.standard_normal(((1 << 20) // columns, columns), np.float32) * np.float32(0.02)
        for _, columns, _ in work
    }
    todo, lock = iter(work), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                item = next(todo, None)
            if item is None:
                return
            kind, columns, rows = item
            importance = values[columns][0] ** 2 if matrix else None
            quantize_with_ggml(GgmlType(kind), values[columns][:rows], importance)

    began, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Measured(time.perf_counter() - began, time.process_time() - cpu, 0, 0)


def main(gigabytes: float = 2.5, recipe: str = "Q4_K_M", matrix: str = "") -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as temporary:
        folder = Path(temporary)
        source = write_v3_shape(folder / "source", gigabytes)
        size = sum(file.stat().st_size for file in source.iterdir())
        print(
            (
                f"source: {size / 1e9:.2f} GB of FP8; {THREADS} threads\n\n| | wall s |"
                f" processor s | written GB |"
                f" peak MB |\n|---|---|---|---|---|"
            ),
            flush=True,
        )
        ours = folder / "ours.gguf"
        given = ["--imatrix", str(write_imatrix(folder / "imatrix.gguf", source))] if matrix else []
        command = [
            sys.executable,
            "-P",
            "-m",
            "dslocal",
            "convert",
            str(source),
            "-o",
            str(ours),
            "--quant",
            recipe,
            "--jobs",
            str(THREADS),
            "--no-mtp",
            *given,
        ]
        one_pass = timed(command)
        print(one_pass.row("dslocal, one pass"), flush=True)
        alone = quantize_alone(ours, matrix=bool(matrix))
        print(alone.row("ggml_quantize_chunk alone"), flush=True)
        steps = [
            [
                f"{ORACLE}/venv/bin/python",
                "-c",
                _CONVERT,
                f"{ORACLE}/src",
                str(source),
                "--outtype",
                "bf16",
                "--outfile",
                str(folder / "bf16.gguf"),
            ],
            [
                f"{ORACLE}/bin/llama-quantize",
                *given,
                str(folder / "bf16.gguf"),
                str(folder / "theirs.gguf"),
                recipe,
                str(THREADS),
            ],
        ]
        two = [timed(step) for step in steps]
        for name, measured in zip(("convert to bf16", "llama-quantize"), two, strict=True):
            print(measured.row(name), flush=True)
        for what, taken, both, single in (
            ("wall", one_pass.wall, sum(step.wall for step in two), alone.wall),
            ("processor", one_pass.cpu, sum(step.cpu for step in two), alone.cpu),
        ):
            print(
                f"\n{what} time: one pass / two steps {taken / both:.2f};"
                f" one pass / quantize alone {taken / single:.2f}"
            )
        print(f"output {ours.stat().st_size:,} bytes, written by us {one_pass.written:,}")
        same = convert_digest(ours) == convert_digest(folder / "theirs.gguf")
        print("tensors identical" if same else "TENSORS DIFFER")
        if not matrix:
            shares(source, recipe)


def convert_digest(path: Path) -> dict[str, int]:
    import zlib

    header = read_header(path)
    with path.open("rb") as file:
        found = {}
        for tensor in header.tensors:
            file.seek(header.data_start + tensor.offset)
            found[tensor.name] = zlib.crc32(file.read(tensor.nbytes))
    return found


if __name__ == "__main__":
    assert converter.RECIPES
    main(*(cast(value) for cast, value in zip((float, str, str), sys.argv[1:], strict=False)))
