"""Train nano: DeepSeek-V3's architecture on made-up conversations, on one H200.

    python -m make_nano.train FOLDER [--minutes 9 | --steps N] [--tokenizer tokenizer.json]

run in tests/, writes a bf16 checkpoint, and one every ``--save-every`` minutes on the way. The
learning rate follows the clock, so that training ends when it should on any GPU; with ``--steps``
it follows the steps instead, and two runs on one machine are alike. A run that was cut off goes on
with ``--resume FOLDER --done SHARE``: from the weights that were saved, at the learning rate that
was due, on fresh examples; one that is planned in pieces ends each with ``--until SHARE``.
``--size NAME=N`` changes a field of ``Sizes``.
"""

from __future__ import annotations

import argparse
import math
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from make_nano.corpus import Windows, parts, token_id
from make_nano.export_bf16 import export, restore
from make_nano.markup import BOS
from make_nano.model import Documents, Nano, Rotation, Sizes
from make_nano.muon import Muon
from make_nano.vocabulary import train_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn

WARM_UP = 200  # steps
LOWEST = 0.01  # of the learning rate, at the end
MTP_SHARE = 0.3  # of the loss, beside the trunk's
BALANCE_EVERY, BALANCE_RATE = 5, 0.005
MIXED = 4_000  # windows that wait, of which batches are drawn
MOST_COUNTED = 0.43  # of a batch's tokens; what counts beyond that is left out
MOST_PARTS = 100_000  # of a whole training
SHORTEST = 96  # tokens of an example, on average over a batch: more examples than that do not fit


@dataclass(frozen=True)
class Plan:
    """How long to train, on how much; the defaults are those of nano."""

    minutes: float = 9.0
    steps: int = 0  # instead of minutes
    done: float = 0.0  # where a run that was cut off goes on
    until: float = 1.0  # where this run ends, for one training in several pieces
    rate: float = 3e-3
    batch: int = 32
    length: int = 1536
    processes: int = 0  # that draw examples; 0 for one a core
    part: int = 8_000  # examples
    mixed: int = MIXED
    device: str = "cuda"
    experts: str = "sorted"  # or "all", which computes every expert for every token
    attention: str = "varlen"  # or "mask"
    report_every: int = 200
    save_every: float = 2.0  # minutes

    def learning_rate(self, step: int, done: float) -> float:
        """A short warm-up, then half a cosine over what is ``done`` of the whole, from 0 to 1."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * done)
        return self.rate * min(1, (step + 1) / WARM_UP) * (LOWEST + (1 - LOWEST) * cosine)


class Wanted(NamedTuple):
    """What is to be predicted: at which places, which tokens, and whether they count.

    The number of places is fixed, so that the compiled model has one shape; it is filled up with
    places that do not count.
    """

    places: Tensor
    tokens: Tensor
    counts: Tensor

    def loss(self, logits: Tensor) -> Tensor:
        each = F.cross_entropy(logits.float(), self.tokens, reduction="none")
        return (each * self.counts).sum() / self.counts.sum()


class Batch(NamedTuple):
    """Windows of tokens, what follows them and what comes after that, where examples begin."""

    tokens: Tensor
    following: Wanted
    after: Wanted
    documents: Documents


class Dealer:
    """Mixes windows as they come and deals them out; a thread keeps a few batches ready."""

    def __init__(self, windows: Iterator[Windows], plan: Plan, begin: int) -> None:
        self.windows = windows
        self.plan = plan
        self.begin = begin
        self.random = np.random.default_rng(0)
        self.ready: queue.Queue[list[np.ndarray]] = queue.Queue(8)
        threading.Thread(target=self._deal, daemon=True).start()

    def batch(self) -> Batch:
        plan = self.plan
        ids, begins, *wanted = self.ready.get()
        tokens = self._moved(ids)
        if plan.attention == "mask":
            documents = _masked(tokens, self.begin)
        else:
            documents = Documents(None, self._moved(begins), plan.length)
        following, after = (Wanted(*map(self._moved, wanted[at : at + 3])) for at in (0, 3))
        return Batch(tokens, following, after, documents)

    def _moved(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.plan.device, non_blocking=True)

    def _deal(self) -> None:
        size = self.plan.batch
        pool: list[tuple[np.ndarray, np.ndarray]] = []
        for part in self.windows:
            pool.extend(zip(part.ids, part.counts, strict=True))
            while len(pool) >= max(size, self.plan.mixed):
                chosen = self.random.permutation(len(pool))[:size]
                picked = [pool[i] for i in chosen]
                for i in sorted(chosen, reverse=True):
                    pool[i] = pool[-1]
                    pool.pop()
                ids, counts = (np.stack(arrays) for arrays in zip(*picked, strict=True))
                wide = ids.astype(np.int64)
                tokens = np.ascontiguousarray(wide[:, :-2])
                following = _wanted(wide[:, 1:-1], counts[:, 1:-1])
                after = _wanted(wide[:, 2:], counts[:, 2:])
                self.ready.put([tokens, self._begins(tokens), *following, *after])

    def _begins(self, ids: np.ndarray) -> np.ndarray:
        """Return where examples begin in the windows laid end to end, filled up with the end."""
        if self.plan.attention == "mask":
            return np.zeros(0, np.int32)
        flat = ids.ravel()
        begins = np.flatnonzero(flat == self.begin)
        fixed = np.full(len(flat) // SHORTEST, len(flat), np.int32)
        fixed[: len(begins)] = begins
        return fixed


def _wanted(ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the places that count, filled up with others, their tokens and whether they count."""
    flat = counts.ravel()
    room = int(len(flat) * MOST_COUNTED)
    places = np.flatnonzero(flat)[:room]
    places = np.concatenate((places, np.flatnonzero(~flat)[: room - len(places)]))
    return places, ids.ravel()[places], flat[places].astype(np.float32)


def _masked(tokens: Tensor, begin: int) -> Documents:
    numbers = (tokens == begin).cumsum(1)
    same = numbers[:, None, :, None] == numbers[:, None, None, :]
    length = tokens.size(1)
    causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
    return Documents(same & causal, None, length)


class Trainer:
    def __init__(self, model: Nano, dealer: Dealer, plan: Plan, folder: Path) -> None:
        self.model = model
        self.dealer = dealer
        self.plan = plan
        self.folder = folder
        for router in model.routers():
            router.sorts = plan.experts == "sorted"
        on_gpu = plan.device != "cpu"
        self.losses = torch.compile(self._losses) if on_gpu else self._losses
        self.rotation = Rotation.of(model.sizes, plan.length, plan.device)
        self.optimizers = _optimizers(model, plan.rate, fused=on_gpu)

    def train(self) -> int:
        """Trains to the end of the plan and returns the number of steps that were taken."""
        start = time.time()
        saved = start
        step = 0
        while (done := self._done(step, time.time() - start)) < self.plan.until:
            rate = self.plan.learning_rate(step, done)
            trunk, draft = self._step(rate)
            if step % self.plan.report_every == 0:
                self._report(step, time.time() - start, trunk, draft)
            if step % BALANCE_EVERY == 0:
                for router in self.model.routers():
                    router.balance(BALANCE_RATE * (1 - done))
            if time.time() - saved > self.plan.save_every * 60:
                export(self.model, self.folder)
                saved = time.time()
                print(f"saved, done {done:.3f}", flush=True)
            step += 1
        return step

    def _done(self, step: int, seconds: float) -> float:
        """Return which share of the plan lies behind."""
        of_this = step / self.plan.steps if self.plan.steps else seconds / (self.plan.minutes * 60)
        return self.plan.done + of_this * (self.plan.until - self.plan.done)

    def _report(self, step: int, seconds: float, trunk: Tensor, draft: Tensor) -> None:
        loads = [float(router.load.max() / router.load.mean()) for router in self.model.routers()]
        losses = f"loss {trunk.item():.4f} mtp {draft.item():.4f}"
        tokens = (step + 1) * self.plan.batch * self.plan.length / 1e6
        print(
            f"step {step} {seconds:.0f}s {losses} {tokens:.0f}M tokens"
            f" ready {self.dealer.ready.qsize()} load {max(loads):.2f}",
            flush=True,
        )

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the next token and of the one after it, over the tokens that count."""
        with torch.autocast(self.plan.device, torch.bfloat16):
            trunk, draft = self.model(
                batch.tokens,
                self.rotation,
                batch.documents,
                batch.following.places,
                batch.after.places,
            )
        return batch.following.loss(trunk), batch.after.loss(draft)

    def _step(self, rate: float) -> tuple[Tensor, Tensor]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        trunk, draft = self.losses(self.dealer.batch())
        (trunk + MTP_SHARE * draft).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return trunk.detach(), draft.detach()


def _optimizers(model: Nano, rate: float, *, fused: bool) -> list[torch.optim.Optimizer]:
    """Return Muon for matrices that turn one vector into another, AdamW for all else."""
    tables = ("embed_tokens", "lm_head", "mlp.gate.")
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    vectors: list[Tensor] = []
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            vectors.append(weight)
        elif any(part in name for part in tables):
            others.append(weight)
        else:
            matrices.append(weight)
    groups = [
        {"params": others, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        Muon(matrices, rate=rate, weight_decay=0.1),
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=fused),
    ]


def train(
    tokenizer: Tokenizer, sizes: Sizes, plan: Plan, folder: Path, resumed: Path | None
) -> Nano:
    first = int(plan.done * MOST_PARTS)  # other examples than those before
    windows = parts(tokenizer, plan.length + 2, plan.part, plan.processes, first)
    dealer = Dealer(windows, plan, token_id(tokenizer, BOS))
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model: Nano = Nano(sizes).to(plan.device)
    if resumed:
        restore(model, resumed)
    print("params", sum(p.numel() for p in model.parameters()) / 1e6, "M", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    trainer = Trainer(model, dealer, plan, folder)
    steps = trainer.train()
    seen = steps * plan.batch * plan.length / 1e6
    print(f"steps {steps} tokens seen {seen:.0f}M", flush=True)
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
    plan = Plan(**given)
    export(train(tokenizer, sizes, plan, options.folder, options.resume), options.folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m make_nano.train")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tokenizer", type=Path, help="this one instead of one learned from the examples"
    )
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from, with --done")
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


if __name__ == "__main__":
    main()
