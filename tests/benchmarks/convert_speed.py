"""How fast is one pass? Wall time against llama.cpp's two steps and against ggml_quantize_chunk
alone, in one run, two threads.

    DSLOCAL_ORACLE=FOLDER python tests/benchmarks/convert_speed.py [GIGABYTES] [RECIPE]

FOLDER as tests/support/checkpoints/oracle.py says. A random V3-shaped checkpoint (FP8 with block
scales, MLA, experts, the MTP layer left out by both) of GIGABYTES (2.5 by default) is written to a
temporary folder; each contender converts it to RECIPE (Q4_K_M). Bytes written are the process's own
account (/proc/PID/io), peak memory is the largest resident set.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from support.checkpoints.oracle import _CONVERT, ORACLE
from v3_shape import write_v3_shape

import dslocal.convert as converter
from dslocal.convert.kernels import init_quantization, quantize_with_ggml
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType

THREADS = 2


def timed(command: list[str]) -> tuple[float, int, float]:
    """Wall seconds, bytes written and peak resident megabytes of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
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
    peak = int(kilobytes) / 1000
    return seconds, (resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before) * 512, peak


def quantize_alone(path: Path) -> float:
    """Seconds that ggml_quantize_chunk needs on two threads for as many weights of the same types
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
            quantize_with_ggml(GgmlType(kind), values[columns][:rows])

    began = time.perf_counter()
    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def main(gigabytes: float = 2.5, recipe: str = "Q4_K_M") -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as temporary:
        folder = Path(temporary)
        source = write_v3_shape(folder / "source", gigabytes)
        size = sum(file.stat().st_size for file in source.iterdir())
        print(
            (
                f"source: {size / 1e9:.2f} GB of FP8; {THREADS} threads\n\n| | wall s |"
                f" written GB |"
                f" peak MB |\n|---|---|---|---|"
            ),
            flush=True,
        )
        ours = folder / "ours.gguf"
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
        ]
        one_pass = timed(command)
        print(
            (
                f"| dslocal, one pass | {one_pass[0]:.1f} | {one_pass[1] / 1e9:.2f} |"
                f" {one_pass[2]:,.0f} |"
            ),
            flush=True,
        )
        floor = quantize_alone(ours)
        print(f"| ggml_quantize_chunk alone | {floor:.1f} | | |", flush=True)
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
                str(folder / "bf16.gguf"),
                str(folder / "theirs.gguf"),
                recipe,
                str(THREADS),
            ],
        ]
        two = [timed(step) for step in steps]
        for name, (seconds, written, peak) in zip(
            ("convert to bf16", "llama-quantize"), two, strict=True
        ):
            print(f"| {name} | {seconds:.1f} | {written / 1e9:.2f} | {peak:,.0f} |")
        both = sum(seconds for seconds, _, _ in two)
        print(
            f"\none pass / two steps: {one_pass[0] / both:.2f}; one pass / quantize alone:"
            f" {one_pass[0] / floor:.2f}"
        )
        print(f"output {ours.stat().st_size:,} bytes, written by us {one_pass[1]:,}")
        same = convert_digest(ours) == convert_digest(folder / "theirs.gguf")
        print("tensors identical" if same else "TENSORS DIFFER")


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
    main(*(cast(value) for cast, value in zip((float, str), sys.argv[1:], strict=False)))
