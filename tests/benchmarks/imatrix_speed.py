"""CPU time of ``dslocal imatrix`` as a multiple of llama-imatrix's, on the same file and text.

    python tests/benchmarks/imatrix_speed.py MODEL.gguf TEXT [ROUNDS [CHUNKS]]

DSLOCAL_ORACLE names a folder whose ``bin`` holds llama-imatrix. Both evaluate with one thread and
take turns; the least time of each counts. Each evaluates 2 chunks of 512 tokens and CHUNKS (16):
the difference is what a chunk costs, which decides for real models and texts, and the rest is what
starting costs, which is Python's on our side.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ORACLE = os.environ["DSLOCAL_ORACLE"]
CHUNK = 512
FEW = 2  # chunks


def cpu_seconds(command: list[str]) -> float:
    """Return the CPU time that a command and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def commands(model: str, text: str, folder: str, chunks: int) -> dict[str, list[str]]:
    """Return both commands, by program."""
    ours = [sys.executable, "-m", "dslocal", "imatrix", model, "--text", text, "--force"]
    ours += ["-o", f"{folder}/o.gguf", "--tokens", str(CHUNK * chunks)]
    peer = [f"{ORACLE}/bin/llama-imatrix", "-m", model, "-f", text, "-o", f"{folder}/p.gguf"]
    size = str(CHUNK)
    peer += ["-c", size, "-b", size, "-ub", size, "-t", "1", "-fa", "on", "--chunks", str(chunks)]
    return {"dslocal": ours, "llama-imatrix": peer}


def main() -> None:
    """Print what starting and a chunk cost both programs, and the ratios."""
    model, text = (str(Path(argument).resolve()) for argument in sys.argv[1:3])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    many = int(sys.argv[4]) if len(sys.argv) > 4 else 16
    best: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for chunks in (FEW, many):
                for program, command in commands(model, text, folder, chunks).items():
                    seconds = cpu_seconds(command)
                    key = (program, chunks)
                    best[key] = min(seconds, best.get(key, seconds))
    costs = {}
    for program in ("dslocal", "llama-imatrix"):
        few, all_ = best[program, FEW], best[program, many]
        costs[program] = (all_ - few) / (many - FEW)
        start = few - FEW * costs[program]
        print(f"{program}: {all_:.2f} s for {many} chunks: {start:.2f} s to start, ", end="")
        print(f"{costs[program]:.3f} s a chunk")
    whole = best["dslocal", many] / best["llama-imatrix", many]
    chunk = costs["dslocal"] / costs["llama-imatrix"]
    print(f"{whole:.2f} times in all, {chunk:.2f} times a chunk")


if __name__ == "__main__":
    main()
