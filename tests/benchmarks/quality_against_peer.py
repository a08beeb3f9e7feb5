"""``dslocal quality`` beside llama-perplexity: differences of all figures, and CPU time.

    python tests/benchmarks/quality_against_peer.py REFERENCE.gguf MODEL.gguf TEXT [ROUNDS]

DSLOCAL_ORACLE names a folder whose ``bin`` holds llama-perplexity. Both evaluate one chunk of 512
tokens at a time in one thread, take turns, and the least time of each counts. Starting Python is
included. llama-perplexity's default is four chunks a batch, which rounds otherwise: its figures
with and without that differ by about 1e-4.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ORACLE = os.environ["DSLOCAL_ORACLE"]
CHUNK = "512"
# the line of llama-perplexity, the field of ours, and what the printed figure is divided by
FIGURES = {
    "Mean PPL(Q) ": ("perplexity", "value", 1),
    "Mean PPL(base)": ("reference_perplexity", "value", 1),
    "Mean ln(PPL(Q)/PPL(base))": ("log_perplexity_ratio", "value", 1),
    "Mean    KLD": ("kl", "mean", 1),
    "Maximum KLD": ("kl", "maximum", 1),
    "99.9%   KLD": ("kl", "p99_9", 1),
    "99.0%   KLD": ("kl", "p99", 1),
    "95.0%   KLD": ("kl", "p95", 1),
    "90.0%   KLD": ("kl", "p90", 1),
    "Median  KLD": ("kl", "median", 1),
    "10.0%   KLD": ("kl", "p10", 1),
    " 1.0%   KLD": ("kl", "p1", 1),
    "Minimum KLD": ("kl", "minimum", 1),
    "Mean    Δp": ("probability_change", "mean", 100),
    "99.0%   Δp": ("probability_change", "p99", 100),
    "RMS Δp": ("rms_probability_change", "value", 100),
    "Same top p": ("same_top", "value", 100),
}


def timed(command: list[str], home: str = "") -> tuple[float, str]:
    """Return the CPU time of a command and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "DSLOCAL_HOME": home}
    done = subprocess.run(command, check=True, capture_output=True, env=env, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def ours(reference: str, model: str, *text: str) -> tuple[float, dict[str, Any]]:
    """Measure a model with a cache that is empty; return the time and the JSON."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "dslocal", "quality", model, "--reference", reference]
        seconds, printed = timed([*command, "--json", *text], home)
    return seconds, json.loads(printed)


def peers(*arguments: str) -> tuple[float, str]:
    """Run llama-perplexity."""
    sizes = ["-c", CHUNK, "-b", CHUNK, "-ub", CHUNK, "-t", "1"]
    return timed([f"{ORACLE}/bin/llama-perplexity", *arguments, *sizes])


def print_differences(found: dict[str, Any], printed: str) -> None:
    """Print every figure of both, and how far they are apart.

    Raises:
        SystemExit: llama-perplexity's log thread lost the end of what it prints, as it may at exit.
    """
    missing = [title for title in FIGURES if f"\n{title}" not in printed]
    if missing:
        sys.exit(f"llama-perplexity did not print {', '.join(missing)}: run this again")
    print(f"{'figure':<28}{'dslocal':>14}{'llama-perplexity':>18}{'difference':>12}")
    for line in printed.splitlines():
        for title, (group, name, unit) in FIGURES.items():
            if line.startswith(title):
                theirs = float(line.partition(":")[2].split()[0].rstrip("%")) / unit
                mine = found["models"][0][group][name]
                print(f"{title.strip():<28}{mine:>14.6f}{theirs:>18.6f}{mine - theirs:>12.1e}")


def main() -> None:
    """Print the figures of both, and the times of both phases."""
    reference, model, text = (str(Path(argument).resolve()) for argument in sys.argv[1:4])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    with tempfile.TemporaryDirectory() as folder:
        base = f"{folder}/base.kld"
        seconds: dict[str, list[float]] = {"both phases": [], "scores alone": []}
        theirs: dict[str, list[float]] = {"both phases": [], "scores alone": []}
        for _ in range(rounds):
            first, _printed = peers("-m", reference, "-f", text, "--kl-divergence-base", base)
            second, printed = peers("-m", model, "--kl-divergence", "--kl-divergence-base", base)
            theirs["both phases"].append(first + second)
            theirs["scores alone"].append(second)
            both, found = ours(reference, model, "--text", text)
            seconds["both phases"].append(both)
            seconds["scores alone"].append(ours(base, model)[0])
    print_differences(found, printed)
    for phase, measured in seconds.items():
        mine, other = min(measured), min(theirs[phase])
        print(f"{phase}: {mine:.2f} s, llama-perplexity {other:.2f} s: {mine / other:.2f} times")


if __name__ == "__main__":
    main()
