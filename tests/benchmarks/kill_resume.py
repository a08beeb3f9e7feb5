"""kill -9 at random moments of a conversion, each followed by a rerun: how many end bit-identical
to an undisturbed run?

    python tests/benchmarks/kill_resume.py [TIMES] [SEED]

A V3-like FP8 checkpoint in four shards, to IQ4_XS and Q4_K_M from one read. Every second kill is
followed by another one.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.checkpoints.tiny_checkpoints import write_checkpoint

RECIPES = "IQ4_XS,Q4_K_M"


def main(times: int = 20, seed: int = 1) -> None:
    r = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = write_checkpoint(
            folder / "c",
            "deepseek-v3",
            dtype="fp8",
            shards=4,
            n_routed_experts=16,
            moe_intermediate_size=256,
            num_hidden_layers=4,
        )
        started = time.monotonic()
        subprocess.run(command(source, folder / "whole"), check=True, capture_output=True)
        length = time.monotonic() - started
        expected = result(folder / "whole")
        good = killed = 0
        for attempt in range(times):
            out = folder / str(attempt)
            for _ in range(1 + attempt % 2):
                with subprocess.Popen(
                    command(source, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ) as process:
                    time.sleep(r.uniform(0.2, length))
                    killed += process.poll() is None
                    process.kill()
            rerun = subprocess.run(
                [*command(source, out), "--force"], check=False, capture_output=True, text=True
            )
            same = rerun.returncode == 0 and result(out) == expected
            good += same
            print(
                (
                    f"{attempt + 1}: {'identical' if same else 'DIFFERENT'}"
                    f" {rerun.stdout.strip()[-24:]}"
                ),
                flush=True,
            )
        print(f"{good} of {times} identical after {killed} kills in the middle")


def command(source: Path, out: Path) -> list[str]:
    out.mkdir(exist_ok=True)
    return [
        sys.executable,
        "-P",
        "-m",
        "dslocal",
        "convert",
        str(source),
        "-o",
        str(out),
        "--quant",
        RECIPES,
        "--json",
    ]


def result(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
