"""kill -9 at random moments of a conversion, each followed by a rerun: how many end bit-identical
to an undisturbed run?

    python tests/benchmarks/kill_resume.py [TIMES] [SEED] [CASE]

The case v3 is a V3-like FP8 checkpoint in four shards, to IQ4_XS and Q4_K_M from one read; v4 a
V4-like one with FP4 experts, to MXFP4 and V4-Q2 with the drafter beside them. Every second kill is
followed by another one. Ends with 1 where a result differs.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.checkpoints.tiny_checkpoints import write_checkpoint

V3: dict[str, Any] = {
    "kind": "deepseek-v3",
    "dtype": "fp8",
    "shards": 4,
    "n_routed_experts": 16,
    "moe_intermediate_size": 256,
    "num_hidden_layers": 4,
}
V4: dict[str, Any] = {
    "kind": "deepseek-v4-dspark",
    "dtype": "fp4",
    "shards": 4,
    "n_routed_experts": 16,
}
CASES = {
    "v3": (V3, ("--quant", "IQ4_XS,Q4_K_M")),
    "v4": (V4, ("--quant", "MXFP4,V4-Q2", "--with-drafter")),
}


def main(times: int, seed: int, case: str) -> None:
    r = random.Random(seed)
    arguments, options = CASES[case]

    def command(out: Path) -> list[str]:
        out.mkdir(exist_ok=True)
        program = [sys.executable, "-P", "-m", "dslocal", "convert"]
        return [*program, str(source), "-o", str(out), *options, "--json"]

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = write_checkpoint(folder / "c", **arguments)
        started = time.monotonic()
        subprocess.run(command(folder / "whole"), check=True, capture_output=True)
        length = time.monotonic() - started
        expected = result(folder / "whole")
        good = killed = 0
        for attempt in range(times):
            out = folder / str(attempt)
            for _ in range(1 + attempt % 2):
                with subprocess.Popen(
                    command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ) as process:
                    time.sleep(r.uniform(0.2, length))
                    killed += process.poll() is None
                    process.kill()
            rerun = subprocess.run(
                [*command(out), "--force"], check=False, capture_output=True, text=True
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
    sys.exit(good < times)


def result(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    given = [*sys.argv[1:], *("20", "1", "v3")[len(sys.argv) - 1 :]]
    main(int(given[0]), int(given[1]), given[2])
