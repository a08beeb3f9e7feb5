"""Trains nano: DeepSeek-V3's architecture on made-up conversations, eight minutes on one H200.

    python -m make_nano.train FOLDER [--minutes 8 | --steps N] [--tokenizer tokenizer.json]

run in tests/, writes a bf16 checkpoint. The learning rate follows the clock, so that training ends
when it should on any GPU; with ``--steps`` it follows the steps instead, and two runs on one
machine are alike. ``--size NAME=N`` changes a field of ``Sizes``.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from make_nano.corpus import Corpus
from make_nano.export_bf16 import export
from make_nano.model import Nano, Rotation, Sizes
from make_nano.vocabulary import train_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn

HELD_BACK = 32  # windows, the first ones, for the loss at the end
WARM_UP = 200  # steps
LOWEST = 0.02  # of the learning rate, at the end
MTP_SHARE = 0.3  # of the loss, beside the trunk's
BALANCE_EVERY, BALANCE_RATE = 10, 0.002


@dataclass(frozen=True)
class Plan:
    """How long to train, on how much; the defaults are those of nano."""

    minutes: float = 8.0
    steps: int = 0  # instead of minutes
    rate: float = 3e-3
    batch: int = 48
    length: int = 1024
    examples: int = 1_600_000
    device: str = "cuda"
    report_every: int = 200

    def learning_rate(self, step: int, done: float) -> float:
        """A short warm-up, then half a cosine over what is ``done`` of the whole, from 0 to 1."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * done)
        return self.rate * min(1, (step + 1) / WARM_UP) * (LOWEST + (1 - LOWEST) * cosine)


@dataclass(frozen=True)
class Batch:
    """Windows of tokens, the next token and the one after it at every position, and whether those
    count.
    """

    tokens: Tensor
    following: Tensor
    after: Tensor
    following_counts: Tensor
    after_counts: Tensor


class Windows:
    """Cuts the corpus into windows and deals them out, shuffled anew each time round."""

    def __init__(self, corpus: Corpus, plan: Plan) -> None:
        self.batch = plan.batch
        self.length = plan.length
        self.device = plan.device
        count = len(corpus.ids) // plan.length - 1
        end = count * plan.length + 2  # the last window looks two tokens ahead
        self.ids = torch.from_numpy(corpus.ids[:end].astype("int32")).to(plan.device)
        self.counts = torch.from_numpy(corpus.counts[:end]).to(plan.device)
        self.offsets = torch.arange(plan.length + 2, device=plan.device)
        self.order = torch.randperm(count - HELD_BACK, device=plan.device) + HELD_BACK
        self.position = self.rounds = 0

    def deal(self) -> Batch:
        if self.position + self.batch > len(self.order):
            self.order = self.order[torch.randperm(len(self.order), device=self.device)]
            self.position = 0
            self.rounds += 1
        self.position += self.batch
        return self._cut(self.order[self.position - self.batch : self.position])

    def held_back(self) -> Batch:
        return self._cut(torch.arange(0, HELD_BACK, device=self.device))

    def _cut(self, numbers: Tensor) -> Batch:
        where = numbers[:, None] * self.length + self.offsets
        ids, counts = self.ids[where].long(), self.counts[where]
        return Batch(ids[:, :-2], ids[:, 1:-1], ids[:, 2:], counts[:, 1:-1], counts[:, 2:])


class Trainer:
    def __init__(self, model: Nano, windows: Windows, plan: Plan) -> None:
        self.model = model
        self.windows = windows
        self.plan = plan
        self.compiled = model if plan.device == "cpu" else torch.compile(model)
        self.rotation = Rotation.of(model.sizes, plan.length, plan.device)
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        vectors = [p for p in model.parameters() if p.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=plan.rate, betas=(0.9, 0.95), fused=plan.device != "cpu"
        )

    def train(self) -> int:
        """Trains to the end of the plan and returns the number of steps that were taken."""
        start = time.time()
        step = 0
        uneven = 0.0
        while (
            done := step / self.plan.steps
            if self.plan.steps
            else (time.time() - start) / (self.plan.minutes * 60)
        ) < 1:
            rate = self.plan.learning_rate(step, done)
            trunk, draft = self._step(rate)
            if step % BALANCE_EVERY == 0:
                for router in self.model.routers():
                    uneven = router.load.max() / router.load.mean()
                    router.balance(BALANCE_RATE * (1 - done))
            if step % self.plan.report_every == 0:
                seen = f"step {step} {time.time() - start:.0f}s ep {self.windows.rounds}"
                losses = f"loss {trunk.item():.4f} mtp {draft.item():.4f}"
                print(
                    f"{seen} {losses} lr {rate:.5f} load max/mean {float(uneven):.2f}", flush=True
                )
            step += 1
        return step

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the next token and of the one after it, over the tokens that count."""
        with torch.autocast(self.plan.device, torch.bfloat16):
            trunk, draft = self.compiled(batch.tokens, self.rotation)
        return _loss(trunk, batch.following, batch.following_counts), _loss(
            draft, batch.after, batch.after_counts
        )

    def _step(self, rate: float) -> tuple[Tensor, Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        trunk, draft = self.losses(self.windows.deal())
        (trunk + MTP_SHARE * draft).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return trunk, draft


def train(tokenizer: Tokenizer, sizes: Sizes, plan: Plan) -> Nano:
    start = time.time()
    corpus = Corpus.of(tokenizer, plan.examples)
    print(
        "tokens",
        len(corpus.ids),
        "loss share",
        corpus.counts.mean(),
        f"{time.time() - start:.0f}s",
        flush=True,
    )
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model: Nano = Nano(sizes).to(plan.device)
    print("params", sum(p.numel() for p in model.parameters()) / 1e6, "M", flush=True)
    trainer = Trainer(model, Windows(corpus, plan), plan)
    steps = trainer.train()
    model.eval()
    with torch.no_grad():
        trunk, draft = trainer.losses(trainer.windows.held_back())
    seen = steps * plan.batch * plan.length / 1e6
    print(
        f"val loss {trunk.item():.4f} mtp {draft.item():.4f} steps {steps} tokens seen {seen:.0f}M",
        flush=True,
    )
    return model


def main() -> None:
    options = _arguments()
    changes = dict(size.split("=") for size in options.size)
    sizes = Sizes(**{name: type(getattr(Sizes, name))(value) for name, value in changes.items()})
    given = {field.name: getattr(options, field.name) for field in fields(Plan)}
    tokenizer = (
        Tokenizer.from_file(str(options.tokenizer))
        if options.tokenizer
        else train_tokenizer(sizes.vocab_size)
    )
    assert tokenizer.get_vocab_size() <= sizes.vocab_size
    export(train(tokenizer, sizes, Plan(**given)), options.folder)
    tokenizer.save(str(options.folder / "tokenizer.json"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m make_nano.train")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tokenizer", type=Path, help="this one instead of one learned from the examples"
    )
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="NAME=N",
        help="another value for a field of config.json",
    )
    for field in fields(Plan):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    return parser.parse_args()


def _loss(logits: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    each = F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="none")
    return (each * counts.flatten()).sum() / counts.sum()


if __name__ == "__main__":
    main()
