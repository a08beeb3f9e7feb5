"""One conversion of a published checkpoint, over as many runs as kills make of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.hub.hub_answers import Exchange, deliveries
from support.hub.hub_runs import REPO, DiskWatch, Rig, sha256, shards_of
from support.waiting import output_of, wait_until

OUT = "v3-like-Q4_K_M.gguf"
SLACK = 400_000  # bytes that notes, tokenizer and configuration may take
SMALL = 200_000  # no request for a header or a scale is larger; a shard is
RATE = 10e6  # bytes a second, so that fetching and converting go on side by side
BOTH_DAMAGED = ", twice (the file was kept as "
RETRY_AT_ONCE = """
import sys
from huggingface_hub import constants
from dslocal.cli.main import main
from dslocal.hub import http
http.TIMEOUT_S = constants.HF_HUB_DOWNLOAD_TIMEOUT = 0.5
http.pause = lambda seconds, stop: None
main()
"""

Kill = Callable[["Trial", subprocess.Popen[str]], object]  # returns when it is time
Fault = tuple[str, str, Mapping[str, Any]]  # pattern, kind, parameters


def big_checkpoint(folder: Path) -> Path:
    """FP8, seven shards of 3 MB each: an odd number, so that no weight lies with its scales."""
    sizes = {"n_routed_experts": 16, "moe_intermediate_size": 512}
    return write_checkpoint(folder / "v3-like", "deepseek-v3", dtype="fp8", shards=7, **sizes)


def middling_checkpoint(folder: Path) -> Path:
    """The same with 1 MB each."""
    return write_checkpoint(
        folder / "v3-like", "deepseek-v3", dtype="fp8", shards=7, moe_intermediate_size=256
    )


def small_checkpoint(folder: Path) -> Path:
    """Three shards, and less than 1 MB in all."""
    sizes = {
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_hidden_layers": 2,
        "hidden_size": 128,
    }
    return write_checkpoint(folder / "v3-like", "deepseek-v3", dtype="fp8", shards=3, **sizes)


@dataclass
class Trial:
    """``dslocal convert --stream`` of ``checkpoint``, which the hub of ``rig`` has as ``REPO``."""

    rig: Rig
    checkpoint: Path
    impatient: bool = False  # tries again at once
    peak: int = 0
    kills: int = 0
    stops: int = 0
    code: int = -1
    stderr: str = ""

    @property
    def arguments(self) -> list[str]:
        """Return the command line of the conversion."""
        return ["convert", REPO, "--stream", "--quant", "Q4_K_M"]

    @property
    def out(self) -> Path:
        """Return the file that it writes."""
        return self.rig.out / OUT

    def start(self) -> subprocess.Popen[str]:
        """Start a run."""
        if not self.impatient:
            return self.rig.start(*self.arguments)
        command = [sys.executable, "-P", "-c", RETRY_AT_ONCE, *self.arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.rig.env(), cwd=self.rig.out, stdout=pipe, stderr=pipe, text=True
        )

    def go(self, kills: Sequence[Kill] = ()) -> Trial:
        """Runs, is killed when each of ``kills`` says so, and is run again until it ends by itself.

        A run that got two damaged copies of a shard stops, as it should (``stops``), and is run
        again as well.
        """
        with DiskWatch(self.rig.root) as watch:
            left = list(kills)
            while True:
                with self.start() as process:
                    if left:
                        left[0](self, process)
                        process.kill()
                    _, self.stderr = output_of(process, limit_s=180)
                self.code = process.returncode
                if self.code == -signal.SIGKILL:
                    self.kills += 1
                    left.pop(0)
                elif BOTH_DAMAGED in self.stderr:
                    self.stops += 1
                else:
                    break
        self.peak = watch.peak
        return self

    def units_done(self) -> int:
        """Of the conversion, on disk."""
        try:
            return int(json.loads((self.rig.out / f"{OUT}.journal").read_bytes())["done"])
        except (OSError, ValueError):
            return 0

    @property
    def shard_sizes(self) -> list[int]:
        """Return the sizes of the shards, the smallest first."""
        return sorted(
            (self.checkpoint / shard).stat().st_size for shard in shards_of(self.checkpoint)
        )

    @property
    def bound(self) -> int:
        """What may lie on the disk at once: the output, two shards, and a little."""
        return self.out.stat().st_size + sum(self.shard_sizes[-2:]) + SLACK

    @property
    def fetched(self) -> dict[str, int]:
        """Return how often each shard was fetched.

        That is how often the least fetched of its bytes was asked for and came.
        """
        asked = {
            shard: [_as_asked(one) for one in self._about(shard)]
            for shard in shards_of(self.checkpoint)
        }
        return {shard: deliveries(answers) if answers else 0 for shard, answers in asked.items()}

    @property
    def owed(self) -> dict[str, int]:
        """Return how often each shard had to be fetched.

        That is once, and once more for every copy that came with a wrong byte.
        """
        return {
            shard: 1
            + sum(
                one.fault == "flip" and _asked(one)[1] == one.blob.size
                for one in self._about(shard)
                if one.blob
            )
            for shard in shards_of(self.checkpoint)
        }

    def _about(self, shard: str) -> list[Exchange]:
        return [
            one
            for one in self.rig.hub.requests
            if one.file == shard and one.blob and one.method == "GET"
        ]

    def require_good(self, expected: str) -> None:
        """Require that the result, the disk and the requests show nothing of all this."""
        assert self.code == 0, self.stderr
        assert self.rig.left() == [OUT]
        assert sha256(self.out) == expected
        assert self.fetched == self.owed
        assert (
            self.out.stat().st_size / 2
            + min((self.checkpoint / shard).stat().st_size for shard in shards_of(self.checkpoint))
            < self.peak
        )
        assert self.peak <= self.bound


def _asked(exchange: Exchange) -> tuple[int, int]:
    first, last = exchange.headers["range"].removeprefix("bytes=").split("-")
    return int(first), int(last) + 1


def _as_asked(exchange: Exchange) -> Exchange:
    """Return an exchange without what came around the bytes that were asked for.

    A server that ignores a range sends more than anybody takes.
    """
    start, stop = _asked(exchange)
    first, last = max(start, exchange.start), min(stop, exchange.start + exchange.sent)
    return replace(exchange, start=first, sent=max(0, last - first))


def when_a_shard_is_done(trial: Trial, process: subprocess.Popen[str]) -> None:
    """Wait until one more unit of the conversion is done."""
    before = trial.units_done()
    wait_until(lambda: trial.units_done() > before, process)


def after(seconds: float) -> Kill:
    """Return a kill after so many seconds."""
    return lambda trial, process: time.sleep(seconds)


def random_faults(r: random.Random, checkpoint: Path, count: int) -> list[Fault]:
    """Every kind in turn, each on a shard and at a place of its own."""
    kinds = ["cut", "reset", "stall", "status", "flip", "short", "no_range", "chunked", "length"]
    found: list[Fault] = []
    for number in range(count):
        shard = r.choice(shards_of(checkpoint))
        at = r.randrange((checkpoint / shard).stat().st_size)
        choices: dict[str, dict[str, Any]] = {
            "status": {"status": r.choice([500, 503, 429])},
            "short": {"by": r.randrange(1, 100_000), "honest": r.random() < 0.5},
            "no_range": {},
            "chunked": {"extra": r.choice([0, 100_000])},
            "length": {"length": r.choice([0, 7, 10 << 20])},
        }
        kind = kinds[number % len(kinds)]
        found.append((shard, kind, choices.get(kind, {"at": at})))
    return found
