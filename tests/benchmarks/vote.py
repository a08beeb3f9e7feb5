"""What a vote of 16 is worth at a temperature where single answers go wrong, and that all 16 share
one prefill: the real command, nano.

    python tests/benchmarks/vote.py [QUESTIONS] [SEED]

Every question is one ``dslocal ask -n 16 --vote --temperature 1.2 --no-think --json``. The
questions are of two kinds of tests/make_nano/questions.py in turn: square (of a number up to 99)
and letters (how often a letter comes in a word). Thinking, nano gets nearly all of these right;
answering at once, as here, about 7 of 10. One sample is counted twice: the first of each question,
and all of them, which says the same with less luck.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano import questions

SAMPLES, TEMPERATURE = 16, 1.2
KINDS = ("square", "letters")
BINARY = Path(sysconfig.get_path("scripts")) / "dslocal"


def ask(question: str, seed: int) -> dict[str, Any]:
    """What ``--json`` says, majority or none."""
    options = [
        "-m",
        "nano",
        "-n",
        str(SAMPLES),
        "--vote",
        "--temperature",
        str(TEMPERATURE),
        "--no-think",
    ]
    options += ["--seed", str(seed), "--json"]
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(
        [BINARY, "ask", *options, question],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode not in (0, 6):
        raise SystemExit(done.stderr.decode())
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def main(count: int = 100, seed: int = 1) -> None:
    r = random.Random(seed)
    first = single = voted = shared = evaluated = prompts = 0
    began = time.perf_counter()
    for number in range(count):
        text, expected = questions.question(r, KINDS[number % len(KINDS)])
        said = ask(text, 1000 * (seed + number))
        good = [
            sample["final"] is not None and questions.right(sample["final"], expected)
            for sample in said["samples"]
        ]
        first, single = first + good[0], single + sum(good)
        voted += said["final"] is not None and questions.right(said["final"], expected)
        usages = [sample["usage"] for sample in said["samples"]]
        tokens = usages[0]["prompt_tokens"]
        shared += usages[0]["cached_tokens"] == 0 and all(
            usage["cached_tokens"] == tokens - 1 for usage in usages[1:]
        )
        prompts += tokens
        evaluated += sum(usage["prompt_tokens"] - usage["cached_tokens"] for usage in usages)
    took = time.perf_counter() - began
    print(
        f"{count} questions ({', '.join(KINDS)}), {SAMPLES} answers each at temperature"
        f" {TEMPERATURE} without a thought, {took:.0f} s"
    )
    print(
        f"first sample right: {first} of {count}; all samples: {single} of {SAMPLES * count},"
        f" {single / (SAMPLES * count):.3f}"
    )
    print(f"vote right: {voted} of {count}")
    print(f"one prefill for all {SAMPLES}: {shared} of {count} questions")
    again = SAMPLES - 1  # of every further answer the prompt's last token alone, for its logits
    print(
        f"prompt tokens evaluated: {evaluated:,} = {prompts:,} once + {again} ×"
        f" {count}; without"
        f" sharing {SAMPLES * prompts:,}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
