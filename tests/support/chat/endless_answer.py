"""A process that answers without end until Ctrl-C, and then answers once more. This module, run as
a program, is that process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SECONDS_TO_STOP = 0.2


class Interrupted(NamedTuple):
    """How it ended: in so many seconds, and ``answer`` is what came next."""

    seconds: float
    answer: str


def interrupt(
    nano: Path, env: Mapping[str, str], work: str, *, drafting: bool = False
) -> Interrupted:
    """Interrupt "prefill" or "generation", and have one more question answered.

    Args:
        nano: The model's file.
        env: The whole environment of the process.
        work: What is interrupted.
        drafting: The MTP layer drafts, before and after.

    Raises:
        AssertionError: It was not interrupted, or anything was written to stderr.
    """
    command = [sys.executable, "-P", __file__, str(nano), work, str(int(drafting))]
    environment = {**env, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "started\n"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        seconds = time.monotonic() - sent
        answer = process.stdout.readline()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
        return Interrupted(seconds, answer)


def main(nano: Path, work: str, *, drafting: bool) -> None:
    from support.engine.speculation import prompt_ids

    from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
    from dslocal.engine.speculation.speculation import enable_speculation
    from dslocal.plan.load_config import LoadConfig

    load_config = LoadConfig(4096, n_outputs=4, mtp=True) if drafting else LoadConfig(4096)
    with LlamaModel(nano, load_config) as model, LlamaContext(model, load_config) as context:
        speculation = enable_speculation(context, "on") if drafting else None
        short, long = prompt_ids(model), [prompt_ids(model, f"{n} " * 1300) for n in (47, 86)]
        for _ in Generation(context, short, Sampler(0.6, 0.95, 1), max_tokens=40):
            pass
        started = False
        try:
            for seed in range(1 << 30):
                prompt, max_tokens = (long[seed % 2], 2) if work == "prefill" else (short, 4000)
                for _ in Generation(
                    context, prompt, Sampler(0.6, 0.95, seed), max_tokens=max_tokens
                ):
                    if not started:
                        print("started", flush=True)
                    started = True
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        last = Generation(context, short, Sampler(0.6, 0.95, 1), max_tokens=4000)
        text = b"".join(map(model.piece, last)).decode().replace("\n", " ")
        if speculation:
            print(speculation.error, last.accepted > 0.5 * last.drafted, end=" ")
        print(text, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], drafting=sys.argv[3] == "1")
