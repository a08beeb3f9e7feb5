"""kill -9 at random moments of a chat on a real terminal, another chat going on beside it. Nothing
that was finished may be lost.

python tests/benchmarks/kill_chat.py [--times 30] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.chat.killed_chats import run_trials
from support.cli.running import Run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = run_trials(Run(Path(folder)), asked.times, asked.seed)
        where = ", ".join(f"{count} while {what}" for what, count in sorted(trials.kills.items()))
        print(
            f"{asked.times} kills ({where}): {len(trials.finished)} finished turns, all there;"
            f" {trials.torn} torn last lines, none left"
        )


if __name__ == "__main__":
    main()
