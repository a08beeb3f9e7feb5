"""CPU time of ``dslocal imatrix`` as a multiple of llama-imatrix's, on the same file and text.

    python tests/benchmarks/imatrix_speed.py MODEL.gguf TEXT [ROUNDS]

DSLOCAL_ORACLE names a folder whose ``bin`` holds llama-imatrix. Both evaluate with one thread, take
turns, and the least time of each counts. Starting Python is included.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ORACLE = os.environ["DSLOCAL_ORACLE"]


def cpu_seconds(command: list[str]) -> float:
    """Return the CPU time that a command and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print both times and their ratio."""
    model, text = (str(Path(argument).resolve()) for argument in sys.argv[1:3])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory() as folder:
        dslocal = [sys.executable, "-m", "dslocal"]
        ours = [*dslocal, "imatrix", model, "--text", text, "-o", f"{folder}/o.gguf", "--force"]
        peer = [f"{ORACLE}/bin/llama-imatrix", "-m", model, "-f", text, "-o", f"{folder}/p.gguf"]
        peer += ["-c", "512", "-b", "512", "-ub", "512", "-t", "1", "-fa", "on"]
        times = [(cpu_seconds(ours), cpu_seconds(peer)) for _ in range(rounds)]
    best_ours = min(pair[0] for pair in times)
    best_peer = min(pair[1] for pair in times)
    print(f"{best_ours:.2f} s, llama-imatrix {best_peer:.2f} s: {best_ours / best_peer:.2f} times")


if __name__ == "__main__":
    main()
