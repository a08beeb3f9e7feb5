"""Ctrl-C while experts are streamed: what the model says after it, and how soon it ends."""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from moe_children import measured, planned_ubatch
from moe_routers import CONTEXT, FIRST_TOKEN, N_VOCAB, random_tokens

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext

INTERRUPTIONS = 50
LONGEST_WORK = 1.0  # seconds before an interruption
INTERRUPTED_PROMPT = 64  # tokens
ANSWER_TOKENS = 3
HANGS_AFTER = 60  # seconds of one interruption and the answer after it


def answer(context: LlamaContext) -> str:
    """Return a digest of the logits of a few tokens, from an empty context on."""
    context.clear()
    digest = hashlib.sha256()
    for token in random_tokens(ANSWER_TOKENS):
        context.evaluate([token])
        digest.update(context.logits().tobytes())
    return digest.hexdigest()


def interrupted(path: Path, *, stream: bool) -> None:
    """Print the answer; with streaming, interrupt other work 50 times and answer after each."""
    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.engine.interrupt import abort_on_signal
    from dslocal.plan.load_config import LoadConfig

    config, chance = LoadConfig(CONTEXT), random.Random(1)
    if stream:
        config = replace(config, stream_experts=True, n_ubatch=planned_ubatch(path))
    answers: list[str] = []
    seconds: list[float] = []  # from Ctrl-C to the end
    with LlamaModel(path, config) as loaded, LlamaContext(loaded, config) as context:
        answers.append(answer(context))
        at_work = threading.active_count()
        for n in range(INTERRUPTIONS if stream else 0):
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            size = INTERRUPTED_PROMPT if n % 2 else 1
            wait = chance.uniform(0, LONGEST_WORK)
            began = time.perf_counter()
            stop = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
            try:
                with abort_on_signal(context.abort):
                    stop.start()
                    while True:
                        context.evaluate([chance.randrange(FIRST_TOKEN, N_VOCAB)] * size)
                        if len(context.ids) > CONTEXT // 2:
                            context.clear()
            except KeyboardInterrupt:
                seconds.append(time.perf_counter() - began - wait)
            stop.join()
            answers.append(answer(context))
        faulthandler.cancel_dump_traceback_later()
        threads_left = threading.active_count() - at_work
    print(
        json.dumps(
            {
                "answers": answers,
                "caught": len(seconds),
                "threads_left": threads_left,
                "slowest": max(seconds, default=0.0),
            }
        )
    )


def interruptions(path: Path, gib: float, all_gib: float) -> None:
    """Print how many of the answers after interruptions are those of a run through mmap."""
    right = measured(path, all_gib, "mmap", "interrupt", "0", "auto")["answers"][0]
    found = measured(path, gib, "stream", "interrupt", "0", "auto")
    same = sum(one == right for one in found["answers"][1:])
    print(
        f"{found['caught']} interruptions in {gib} GiB: {same} answers after them are bit by bit"
        f" those through mmap; threads left {found['threads_left']};"
        f" the slowest ended {found['slowest']:.2f} s after Ctrl-C"
    )
