"""DSpark's drafts beside llama-server's, token by token, on a tiny random V4.

    python tests/benchmarks/dspark_drafts.py --server LLAMA-SERVER [--tokens 40]

llama-server names its drafts in its log (``-lv 5``); ours are taken from the drafter. Sums are
exact on both sides (a cache in float32, no flash attention, one thread), confidences are left
aside, and the greedy texts are one and the same, so every block must be, too. Ends with 1
otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.speculation import dspark_draft
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.dspark_draft import DsparkDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

BLOCK = 5
DRAFTING = LoadConfig(2048, kv_type=GgmlType.F32, flash_attn=False, n_outputs=BLOCK + 1, mtp=True)
# the likeliest candidate of a place in a block; llama-server lists three, the likeliest first
DRAFTED = re.compile(rb"draft candidate   0, pos +(\d+): +(\d+) ")
Blocks = list[list[int]]


def ours(folder: Path, prompt: Sequence[int], tokens: int) -> tuple[list[int], Blocks]:
    """The text and the blocks that were drafted for it."""
    blocks: Blocks = []

    class Recorded(DsparkDrafter):
        def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
            blocks.append(super().propose(ids, token, max_drafts))
            return blocks[-1]

    dspark_draft.MIN_CONFIDENCE = 0.0
    with (
        LlamaModel(folder / "model.gguf", DRAFTING) as model,
        LlamaModel(folder / "model-mtp.gguf", DRAFTING) as draft_model,
        LlamaContext(model, DRAFTING, n_threads=1) as context,
    ):
        Speculation(context, Recorded(context, draft_model), DraftLength([BLOCK], optional=False))
        return generate(context, prompt, max_tokens=tokens).ids, blocks


def theirs(
    binary: Path, folder: Path, prompt: Sequence[int], tokens: int
) -> tuple[list[int], Blocks]:
    """The same of llama-server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = "-c 2048 -np 1 -t 1 -fa off -lv 5 --no-warmup -ctk f32 -ctv f32 -ctkd f32 -ctvd f32"
    command = [str(binary), "-m", "model.gguf", "-md", "model-mtp.gguf", "--port", str(port)]
    command += ["--spec-type", "draft-dspark", "--spec-draft-n-max", str(BLOCK), *flags.split()]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, cwd=folder) as p:
        try:
            said = _ask(port, {"prompt": list(prompt), "n_predict": tokens, "temperature": 0})
        finally:
            p.terminate()
    blocks: Blocks = []
    for match in DRAFTED.finditer(log.read_bytes()):
        place, token = int(match[1]), int(match[2])
        if place == 0:
            blocks.append([])
        blocks[-1].append(token)
    return said["tokens"], blocks


def _ask(port: int, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/completion",
        json.dumps({**body, "cache_prompt": False, "return_tokens": True}).encode(),
        {"Content-Type": "application/json"},
    )
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except (urllib.error.HTTPError, OSError):  # not there yet, or still loading
            time.sleep(0.3)
    raise SystemExit("llama-server did not answer")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=40)
    args = parser.parse_args()
    drawn = random.Random(1)
    prompt = [drawn.randrange(10, 300) for _ in range(300)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder / "checkpoint", "deepseek-v4-dspark")
        convert(folder / "checkpoint", folder / "model.gguf", quant="F32", mtp="beside")
        own_text, own = ours(folder, prompt, args.tokens)
        their_text, their = theirs(args.server.resolve(), folder, prompt, args.tokens)
    # ours drafts no more than there is room for at the end
    same = sum(a == b[: len(a)] for a, b in zip(own, their, strict=False))
    print(
        f"{same} of {len(own)} blocks the same ({len(their)} of theirs), "
        f"{sum(map(len, own))} drafts; same text: {own_text == their_text}"
    )
    sys.exit(not same == len(own) == len(their) or own_text != their_text)


if __name__ == "__main__":
    main()
