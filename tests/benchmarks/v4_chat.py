"""Ten turns of a chat with a tiny DeepSeek-V4, whose KV cache cannot be cut: tokens that were
evaluated again each turn, with checkpoints and without, and how far the logits are from those of a
fresh evaluation.

    python tests/benchmarks/v4_chat.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dslocal.gguf import libraries

libraries.require()  # before numpy

from support.chat.v4_chat import play, write_chat_v4  # noqa: E402


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = write_chat_v4(Path(folder) / "v4.gguf")
        os.environ["DSLOCAL_HOME"] = folder
        kept = play(path, has_checkpoints=True)
        lost = play(path, has_checkpoints=False)
    print(f"{'what':32}{'prompt':>8}{'evaluated':>11}{'without':>9}{'logits':>11}")
    for turn, without in zip(kept, lost, strict=True):
        differences = [t.difference for t in (turn, without) if t.difference is not None]
        worst = f"{max(differences):11.1e}" if differences else f"{'-':>11}"
        print(f"{turn.what:32}{turn.prompt:8,}{turn.evaluated:11,}{without.evaluated:9,}{worst}")
    total, most = sum(t.evaluated for t in kept), sum(t.evaluated for t in lost)
    most_off = max(t.difference or 0.0 for t in (*kept, *lost))
    print(f"{total:,} tokens evaluated, {most:,} without checkpoints; logits within {most_off:.1e}")
    return int(most_off > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
