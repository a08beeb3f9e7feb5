"""A stream under fire: does it end with the same bytes, on bounded disk, without fetching a
finished shard twice?

    python tests/benchmarks/stream_faults.py [ROUNDS] [SEED]

Each round converts a V3-like FP8 checkpoint in seven shards of 4 MB, its weights and their scales
apart, straight from a hub on loopback that gets 20 answers wrong in every way it knows; meanwhile
the process is killed (kill -9) 5 times at random moments. ``fetched`` counts for each shard how
often its least fetched byte came that was asked for. ``owed`` is once, and once more for every copy
of it that had a wrong byte: those are fetched again whole. Two such copies in a row end a run,
which says so; ``stops`` counts these, and the same command is given again. ``disk`` is the most
that home, caches and output folder took together, beside the bound: output, two largest shards, 0.4
MB.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.hub.hub_runs import rig, sha256
from support.hub.stream_trials import RATE, Trial, after, big_checkpoint, random_faults

FAULTS, KILLS = 20, 5


def main(rounds: int = 3, seed: int = 1) -> None:
    r = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = big_checkpoint(folder)
        with rig(folder / "quiet", checkpoint) as quiet:
            quiet.hub.fault("*.safetensors", "slow", times=None, rate=RATE)
            started = time.monotonic()
            undisturbed = Trial(quiet, checkpoint).go()
            length = time.monotonic() - started
            expected = sha256(undisturbed.out)
        print(
            "round  bytes      faults  kills  stops  fetched         owed           "
            " disk        "
            "    seconds"
        )
        good = 0
        for number in range(1, rounds + 1):
            with rig(folder / str(number), checkpoint) as it:
                for pattern, kind, parameters in random_faults(r, checkpoint, FAULTS):
                    it.hub.fault(pattern, kind, **parameters)
                it.hub.fault("*.safetensors", "slow", times=None, rate=RATE)
                trial, started = Trial(it, checkpoint), time.monotonic()
                trial.go([after(r.uniform(0.1, 0.35) * length) for _ in range(KILLS)])
                struck = Counter(kind for kind, _ in it.hub.faults_done if kind != "slow")
                same = trial.code == 0 and sha256(trial.out) == expected
                verdict = "identical" if same else f"DIFFERENT {trial.stderr[-200:]}"
                counts = [
                    " ".join(map(str, counted.values())) for counted in (trial.fetched, trial.owed)
                ]
                disk = f"{trial.peak / 1e6:.1f} of {trial.bound / 1e6:.1f} MB" if same else ""
                good += same and trial.fetched == trial.owed and trial.peak <= trial.bound
                numbers = (
                    f"{struck.total():>6}  {trial.kills:>5}  {trial.stops:>5} "
                    f" {counts[0]:<14}  {counts[1]:<14}  {disk:<15}"
                )
                kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(struck.items()))
                print(
                    (
                        f"{number:>5}  {verdict:<9}  {numbers} {time.monotonic() - started:6.1f}"
                        f"   {kinds}"
                    ),
                    flush=True,
                )
        print(f"{good} of {rounds} good")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
