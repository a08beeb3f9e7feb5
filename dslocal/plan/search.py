"""The search for the way to run a model on a machine: what is given up, in which order, and what
each step saves.

Order (first what costs nothing, last what costs quality): smaller micro-batches, q8_0 KV, routed
experts or whole layers to the CPU, a shorter context (never under 4,096 unasked), q4_0 KV. What
fits neither the GPU's budget nor the RAM is read from the SSD as it is needed. What the user pinned
is never changed: it fits, or the error says what would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint, refusal_reason
from dslocal.plan.memory.shape import can_draft

from .load_config import MAX_MTP_DRAFTS, MAX_NGRAM_DRAFTS, LoadConfig, MemoryUse

Verdict = Literal["gpu", "offload", "cpu", "ssd", "no"]
TARGET_CTX = 32768  # tokens: what R1's makers allow an answer
MIN_AUTO_CTX = 4096  # not less unless asked
UBATCH_SIZES = (512, 256, 128, 64)
HEADROOM = 0.02  # of a budget that stays free, for what is not foreseen


@dataclass(frozen=True)
class Overrides:
    """What the user decided; None leaves it to the plan. With ``mtp`` False nothing is drafted at
    all. ``n_seq`` conversations are held side by side, and then nothing is drafted either.
    ``sidecar`` is a file with the MTP layer that the model's own lacks."""

    n_ctx: int | None = None
    kv_type: GgmlType | None = None
    n_ubatch: int | None = None
    flash_attn: bool | None = None
    n_gpu_layers: int | None = None
    cpu_moe_layers: int | None = None
    mtp: bool | None = False
    n_seq: int = 1
    sidecar: Path | None = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True)
class ReductionStep:
    """Something given up, and the bytes that it saved where they were short."""

    what: str
    saved: int


@dataclass(frozen=True)
class Plan:
    """How to load a model. ``lacking`` is by how many bytes it does not fit, when the verdict is
    "ssd" or "no".
    """

    load_config: LoadConfig
    memory: MemoryUse
    verdict: Verdict
    gave_up: tuple[ReductionStep, ...] = ()
    lacking: int = 0


@dataclass(frozen=True)
class _Problem:
    header: GgufHeader
    machine: Machine
    overrides: Overrides
    known: dict[LoadConfig, MemoryUse] = field(default_factory=dict)

    @property
    def all_layers(self) -> int:
        """As llama.cpp counts them: the MTP layer is one though it is not loaded, and so is the
        output.
        """
        return self.header.of_arch("block_count") + 1

    @property
    def moe_layers(self) -> int:
        n_layer = self.header.of_arch("block_count") - self.header.of_arch("nextn_predict_layers")
        return (
            max(0, n_layer - self.header.of_arch("leading_dense_block_count"))
            if self.header.of_arch("expert_count")
            else 0
        )

    def memory(self, load_config: LoadConfig) -> MemoryUse:
        if load_config not in self.known:
            kind = self.machine.gpus[0].kind if self.machine.gpus else "cuda"
            self.known[load_config] = footprint(self.header, load_config, kind)
        return self.known[load_config]

    def gpu_lacking(self, load_config: LoadConfig) -> int:
        """Bytes that are missing on the GPU; 0 or less when it fits."""
        need = self.memory(load_config).all.gpu
        return need - round(self.machine.vram * (1 - HEADROOM)) if need else 0

    def ram_lacking(self, load_config: LoadConfig) -> int:
        need = self.memory(load_config).all
        return (need.total if self.machine.unified else need.host) - round(
            self.machine.available * (1 - HEADROOM)
        )

    def fits(self, load_config: LoadConfig) -> bool:
        return self.gpu_lacking(load_config) <= 0 and self.ram_lacking(load_config) <= 0

    def hopeless(self, load_config: LoadConfig) -> bool:
        """Return whether the weights alone are too large, however they are spread: a quick way to
        know what a search would find.

        They take least on the CPU: on a GPU the output of a model with tied embeddings is a copy.
        """
        if self.overrides.n_gpu_layers is None:
            load_config = replace(load_config, n_gpu_layers=0, load_mode="mmap")
        room = self.machine.available + (0 if self.machine.unified else self.machine.vram)
        return self.memory(load_config).weights.total > room

    def runs_mapped(self, load_config: LoadConfig) -> bool:
        """Whether all fits but the weights in RAM, of which one layer's worth has to, or every
        token would read everything anew.
        """
        weights = self.memory(load_config).weights.host
        least = weights // max(1, self.header.of_arch("block_count"))
        return (
            self.gpu_lacking(load_config) <= 0
            and self.ram_lacking(load_config) - weights + least <= 0
        )


def make_plan(header: GgufHeader, machine: Machine, overrides: Overrides = NO_OVERRIDES) -> Plan:
    """The best way in which the model fits, else the way that gets nearest, with the verdict "ssd"
    or "no".

    Raises UsageError when what is pinned cannot be had at all, on any machine.
    """
    trained = header.of_arch("context_length")
    if trained and (overrides.n_ctx or 0) > trained:
        raise UsageError(
            f"--ctx: {overrides.n_ctx} is out of range", hint=f"this model takes up to {trained}"
        )
    problem = _Problem(header, machine, overrides)
    first = _first(problem)
    problem.memory(first)  # or it cannot be had at all
    if problem.hopeless(first) and (from_ssd := _from_ssd(problem)):
        return from_ssd
    last = _until(problem, first, problem.fits)
    if not problem.fits(last):
        return _from_ssd(problem) or Plan(
            last,
            problem.memory(last),
            "no",
            lacking=max(problem.gpu_lacking(last), problem.ram_lacking(last)),
        )
    last = _finished(problem, _restored(last, first, problem.fits))
    return Plan(
        last, problem.memory(last), _verdict(problem, last), tuple(_steps(problem, first, last))
    )


def _first(problem: _Problem) -> LoadConfig:
    """What is wanted before anything is given up."""
    overrides, trained = problem.overrides, problem.header.of_arch("context_length") or MIN_AUTO_CTX
    n_gpu_layers = problem.all_layers if problem.machine.gpus else 0
    if overrides.n_gpu_layers is not None:
        n_gpu_layers = min(overrides.n_gpu_layers, problem.all_layers)
    cpu_moe_layers = min(overrides.cpu_moe_layers or 0, problem.moe_layers)
    partly = cpu_moe_layers or n_gpu_layers < problem.all_layers
    return LoadConfig(
        n_ctx=overrides.n_ctx or min(trained, TARGET_CTX),
        kv_type=GgmlType.F16 if overrides.kv_type is None else overrides.kv_type,
        n_ubatch=overrides.n_ubatch or UBATCH_SIZES[0],
        flash_attn=True if overrides.flash_attn is None else overrides.flash_attn,
        n_gpu_layers=n_gpu_layers,
        cpu_moe_layers=cpu_moe_layers,
        n_outputs=overrides.n_seq
        if overrides.mtp is False
        else 1 + (MAX_MTP_DRAFTS if can_draft(problem.header) else MAX_NGRAM_DRAFTS),
        load_mode="none" if problem.machine.unified and n_gpu_layers and partly else "mmap",
        mtp=bool(overrides.mtp),
        n_seq=overrides.n_seq,
    )


def _rungs(problem: _Problem, first: LoadConfig) -> Iterator[LoadConfig]:
    """One thing more given up each time. A later rung starts from what the earlier ones gave up."""
    overrides, now = problem.overrides, first
    quantizable = overrides.kv_type is None and not refusal_reason(
        problem.header, replace(first, kv_type=GgmlType.Q8_0)
    )
    if overrides.n_ubatch is None:
        for n_ubatch in UBATCH_SIZES[1:]:
            now = replace(now, n_ubatch=n_ubatch)
            yield now
    if quantizable:
        now = replace(now, kv_type=GgmlType.Q8_0)
        yield now
    for offloaded in _offloads(problem, now):
        now = offloaded
        yield now
    if overrides.n_ctx is None:
        n_ctx = now.n_ctx
        while n_ctx > MIN_AUTO_CTX:
            n_ctx = max(MIN_AUTO_CTX, n_ctx // 2)
            now = _least_offload(problem, replace(now, n_ctx=n_ctx))
            yield now
    if quantizable:
        yield _least_offload(problem, replace(now, kv_type=GgmlType.Q4_0))


def _offloads(problem: _Problem, now: LoadConfig) -> Iterator[LoadConfig]:
    """Experts to the CPU, as few layers as it takes for the GPU; then whole layers."""
    if not now.n_gpu_layers:
        return
    whole = now
    if (
        problem.machine.unified
    ):  # mapped, a Metal buffer would span the whole file, experts "on the CPU" included
        now = replace(now, load_mode="none")
    if problem.moe_layers and problem.overrides.cpu_moe_layers is None:
        n = _fewest(
            problem.moe_layers, lambda n: problem.gpu_lacking(replace(now, cpu_moe_layers=n))
        )
        now = replace(now, cpu_moe_layers=n)
        yield now
    if problem.overrides.n_gpu_layers is None:
        top = now.n_gpu_layers
        n = _fewest(top, lambda n: problem.gpu_lacking(replace(now, n_gpu_layers=top - n)))
        if n < top:
            yield replace(now, n_gpu_layers=top - n)
        if n == top or problem.machine.unified:
            # Where the GPU shares the RAM, what it needs besides the weights is part of the RAM
            # too: without it the whole may fit although a part of it on the GPU does not.
            yield replace(whole, n_gpu_layers=0, load_mode="mmap")


def _least_offload(problem: _Problem, now: LoadConfig) -> LoadConfig:
    """``now`` with as much on the GPU as its other settings allow."""
    first = _first(problem)
    wanted = replace(
        now,
        n_gpu_layers=first.n_gpu_layers,
        cpu_moe_layers=first.cpu_moe_layers,
        load_mode=first.load_mode,
    )
    found = wanted
    for load_config in _offloads(problem, wanted):
        if problem.fits(found):
            break
        found = load_config
    return found


def _fewest(most: int, lacking: Callable[[int], int]) -> int:
    """The least number up to ``most`` at which nothing is lacking any more; ``most`` when there is
    none. More never lacks more.

    Memory is all but proportional to layers, so that the number that a straight line leads to is
    tried first.
    """
    low, high, few, many = 0, most, lacking(0), lacking(most)
    line = math.ceil(most * few / (few - many)) if few > 0 > many else 0
    guesses = [line - 1, line]
    while low < high:
        guess = min(max(low, guesses.pop()), high - 1) if guesses else (low + high) // 2
        low, high = (low, guess) if lacking(guess) <= 0 else (guess + 1, high)
    return low


def _until(
    problem: _Problem, first: LoadConfig, enough: Callable[[LoadConfig], bool]
) -> LoadConfig:
    """The first rung that is enough, or the last."""
    now = first
    for rung in _rungs(problem, first):
        if enough(now):
            break
        now = rung
    return now


def _restored(
    last: LoadConfig, first: LoadConfig, enough: Callable[[LoadConfig], bool]
) -> LoadConfig:
    """``last`` with what was given up before it turned out not to be enough, as far as there is
    room for it after all.
    """
    for kind in dict.fromkeys((first.kv_type, GgmlType.Q8_0)):
        if last.kv_type not in (first.kv_type, kind) and enough(replace(last, kv_type=kind)):
            last = replace(last, kv_type=kind)
    for n_ubatch in (first.n_ubatch, *UBATCH_SIZES):
        if last.n_ubatch < n_ubatch <= first.n_ubatch and enough(replace(last, n_ubatch=n_ubatch)):
            last = replace(last, n_ubatch=n_ubatch)
    return last


def _steps(problem: _Problem, first: LoadConfig, last: LoadConfig) -> Iterator[ReductionStep]:
    """What ``last`` gave up of ``first``, in the order of giving up, each with the bytes that it
    saved where they were short.
    """
    now, before = first, problem.memory(first).all
    for what, change in (
        (f"micro-batches of {last.n_ubatch}, not {first.n_ubatch}", {"n_ubatch": last.n_ubatch}),
        (f"KV cache in {last.kv_type.name.lower()}", {"kv_type": last.kv_type}),
        (
            _offloaded(problem, last),
            {"cpu_moe_layers": last.cpu_moe_layers, "n_gpu_layers": last.n_gpu_layers},
        ),
        (f"a context of {last.n_ctx:,}, not {first.n_ctx:,}", {"n_ctx": last.n_ctx}),
    ):
        changed = replace(now, **change)
        if changed != now:
            after = problem.memory(changed).all
            yield ReductionStep(
                what, before.gpu - after.gpu if before.gpu else before.host - after.host
            )
            now, before = changed, after


def _offloaded(problem: _Problem, load_config: LoadConfig) -> str:
    top = problem.all_layers
    if load_config.n_gpu_layers == 0:
        return "everything on the CPU"
    if load_config.n_gpu_layers < top:
        return f"{top - load_config.n_gpu_layers} of {top} layers on the CPU"
    return f"experts of {load_config.cpu_moe_layers} of {problem.moe_layers} layers on the CPU"


def _verdict(problem: _Problem, load_config: LoadConfig) -> Verdict:
    if not load_config.n_gpu_layers:
        return "cpu"
    whole = load_config.n_gpu_layers == problem.all_layers and not load_config.cpu_moe_layers
    return "gpu" if whole else "offload"


def _finished(problem: _Problem, load_config: LoadConfig) -> LoadConfig:
    """Weight repacking only where its copy of the weights fits as well, the MTP layer and its cache
    only where they do after that.
    """
    if not (load_config.n_gpu_layers or problem.machine.gpus):
        repacked = replace(load_config, repack=True)
        load_config = repacked if problem.fits(repacked) else load_config
    if problem.overrides.mtp is None and can_draft(problem.header):
        drafting = replace(load_config, mtp=True)
        load_config = drafting if problem.fits(drafting) else load_config
    return load_config


def _from_ssd(problem: _Problem) -> Plan | None:
    """The weights in RAM mapped, and read from the SSD as they are needed; the rest must fit. With
    unified memory all on the CPU.
    """
    if problem.machine.unified:
        problem = replace(problem, machine=replace(problem.machine, gpus=()), known={})
    first = replace(_first(problem), load_mode="mmap")
    last = _restored(_until(problem, first, problem.runs_mapped), first, problem.runs_mapped)
    if not problem.runs_mapped(last):
        return None
    return Plan(
        last,
        problem.memory(last),
        "ssd",
        tuple(_steps(problem, first, last)),
        max(0, problem.ram_lacking(last)),
    )
