"""Search for the best way to run a model on a machine.

The search starts from what is wanted and gives up one thing after the other until the model fits.
Order, first what costs nothing, last what costs quality: smaller micro-batches, q8_0 KV, routed
experts or whole layers to the CPU, a shorter context (never under ``MIN_AUTO_CTX`` unasked), q4_0
KV. What fits neither the GPU's budget nor the RAM is read from the SSD as it is needed. What the
user decided is never changed: it fits, or the error says what would.

Knows sizes of a header (:mod:`.memory.footprint`) and a machine's budgets. Does not know how a
model is loaded, or how fast it will be.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint, refusal_reason
from dslocal.plan.memory.shape import can_draft

from .load_config import MAX_MTP_DRAFTS, MAX_NGRAM_DRAFTS, LoadConfig, MemoryUse

Verdict = Literal["gpu", "offload", "cpu", "ssd", "no"]
TARGET_CTX = 32768  # tokens: what R1's model card allows an answer
MIN_AUTO_CTX = 4096  # tokens: the shortest context that a plan takes unasked
UBATCH_SIZES = (512, 256, 128, 64)  # tokens of a micro-batch, from the largest on
HEADROOM = 0.02  # the share of a budget that stays free, for what is not foreseen


@dataclass(frozen=True)
class Overrides:
    """What the user decided. None leaves the choice to the plan.

    Attributes:
        n_ctx: tokens of context.
        kv_type: type of the KV cache.
        n_ubatch: tokens of a micro-batch.
        flash_attn: whether attention is computed with flash attention.
        n_gpu_layers: layers on the GPU, the output being one of them.
        cpu_moe_layers: layers whose routed experts stay in RAM.
        mtp: whether the multi-token-prediction layer is loaded; with False nothing is drafted.
        n_seq: conversations that are kept side by side; with more than one nothing is drafted.
        sidecar: a file with the MTP layer that the model's own file lacks.
    """

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
    """Something that was given up.

    Attributes:
        what: in words.
        saved: bytes that it saved where they were short, on the GPU or in RAM.
    """

    what: str
    saved: int


@dataclass(frozen=True)
class Plan:
    """How to load a model.

    Attributes:
        load_config: the settings.
        memory: bytes that they take, by part.
        verdict: where the model runs: "gpu", "offload" (GPU and CPU), "cpu", "ssd" (read as it is
            needed), or "no".
        gave_up: what was given up, in this order.
        lacking: bytes by which it does not fit, when the verdict is "ssd" or "no".
    """

    load_config: LoadConfig
    memory: MemoryUse
    verdict: Verdict
    gave_up: tuple[ReductionStep, ...] = ()
    lacking: int = 0


Change: TypeAlias = Callable[[LoadConfig], LoadConfig]  # gives up one thing more
Test: TypeAlias = Callable[[LoadConfig], bool]  # whether a config takes little enough


@dataclass(frozen=True)
class _Problem:
    """One model on one machine: what each load config takes, and whether that is there."""

    header: GgufHeader
    machine: Machine
    overrides: Overrides
    memory_by_config: dict[LoadConfig, MemoryUse] = field(default_factory=dict)

    @property
    def all_layers(self) -> int:
        """Return the number of layers as llama.cpp counts them for ``n_gpu_layers``.

        The MTP layer is one though it is not loaded, and so is the output.
        """
        return self.header.of_arch("block_count") + 1

    @property
    def moe_layers(self) -> int:
        """Return the number of layers with routed experts, without the MTP layer."""
        if not self.header.of_arch("expert_count"):
            return 0
        n_layer = self.header.of_arch("block_count") - self.header.of_arch("nextn_predict_layers")
        return max(0, n_layer - self.header.of_arch("leading_dense_block_count"))

    def memory(self, config: LoadConfig) -> MemoryUse:
        """Return the bytes that ``config`` takes.

        Raises:
            UsageError: llama.cpp refuses the combination on any machine.
        """
        if config not in self.memory_by_config:
            kind = self.machine.gpus[0].kind if self.machine.gpus else "cuda"
            self.memory_by_config[config] = footprint(self.header, config, kind)
        return self.memory_by_config[config]

    def gpu_shortage(self, config: LoadConfig) -> int:
        """Return the bytes that are missing on the GPU; 0 or less when it fits."""
        needed = self.memory(config).all.gpu
        return needed - _usable(self.machine.vram) if needed else 0

    def ram_shortage(self, config: LoadConfig) -> int:
        """Return the bytes that are missing in RAM; 0 or less when it fits."""
        needed = self.memory(config).all
        in_ram = needed.total if self.machine.unified else needed.host
        return in_ram - _usable(self.machine.available)

    def fits(self, config: LoadConfig) -> bool:
        """Return whether ``config`` takes no more than the GPU and the RAM have."""
        return self.gpu_shortage(config) <= 0 and self.ram_shortage(config) <= 0

    def runs_mapped(self, config: LoadConfig) -> bool:
        """Return whether everything fits but the weights in RAM, read from the SSD as needed.

        One layer's worth of them must fit, or every token would read all of them again.
        """
        weights = self.memory(config).weights.host
        one_layer = weights // max(1, self.header.of_arch("block_count"))
        return (
            self.gpu_shortage(config) <= 0 and self.ram_shortage(config) - weights + one_layer <= 0
        )

    def is_hopeless(self, config: LoadConfig) -> bool:
        """Return whether the weights alone are too large, wherever they are.

        A quick way to know what a search would find. Weights take least on the CPU: on a GPU the
        output of a model with tied embeddings is a copy of them.
        """
        if self.overrides.n_gpu_layers is None:
            config = self.placed(config, n_gpu_layers=0)
        room = self.machine.available + (0 if self.machine.unified else self.machine.vram)
        return self.memory(config).weights.total > room

    def placed(
        self,
        config: LoadConfig,
        *,
        n_gpu_layers: int | None = None,
        cpu_moe_layers: int | None = None,
    ) -> LoadConfig:
        """Return ``config`` with other layers on the GPU, and the load mode that goes with them.

        A mapped Metal buffer would span the whole file, experts "on the CPU" included, so a model
        that is only partly on the GPU is read into memory there.
        """
        if n_gpu_layers is None:
            n_gpu_layers = config.n_gpu_layers
        if cpu_moe_layers is None:
            cpu_moe_layers = config.cpu_moe_layers
        partly = cpu_moe_layers > 0 or n_gpu_layers < self.all_layers
        read_into_memory = self.machine.unified and n_gpu_layers > 0 and partly
        return replace(
            config,
            n_gpu_layers=n_gpu_layers,
            cpu_moe_layers=cpu_moe_layers,
            load_mode="none" if read_into_memory else "mmap",
        )


def make_plan(header: GgufHeader, machine: Machine, overrides: Overrides = NO_OVERRIDES) -> Plan:
    """Find the best way in which the model fits the machine.

    Returns:
        The plan. Where nothing fits, the way that comes nearest, with the verdict "ssd" or "no".

    Raises:
        UsageError: what the user decided cannot be had on any machine.
        GgufError, UnsupportedModelError: the memory that the header means is not known.
    """
    trained = header.of_arch("context_length")
    if trained and (overrides.n_ctx or 0) > trained:
        raise UsageError(
            f"--ctx: {overrides.n_ctx} is out of range", hint=f"this model takes up to {trained}"
        )
    problem = _Problem(header, machine, overrides)
    wanted = _wanted(problem)
    problem.memory(wanted)  # raises what cannot be had at all
    if problem.is_hopeless(wanted) and (from_ssd := _plan_from_ssd(problem)):
        return from_ssd
    config = _reduced(wanted, _reductions(problem), problem.fits)
    if not problem.fits(config):
        return _plan_from_ssd(problem) or Plan(
            config,
            problem.memory(config),
            "no",
            lacking=max(problem.gpu_shortage(config), problem.ram_shortage(config)),
        )
    config = _with_extras(problem, _restored(config, wanted, problem.fits))
    return Plan(
        config,
        problem.memory(config),
        _verdict(problem, config),
        _steps_between(problem, wanted, config),
    )


def _plan_from_ssd(problem: _Problem) -> Plan | None:
    """Return a plan that maps the weights in RAM and reads them as they are needed.

    All the rest must fit; None where it does not. With unified memory everything is on the CPU.
    """
    if problem.machine.unified:
        without_gpu = replace(problem.machine, gpus=())
        problem = _Problem(problem.header, without_gpu, problem.overrides)
    wanted = _wanted(problem)
    config = _reduced(wanted, _reductions(problem), problem.runs_mapped)
    config = _restored(config, wanted, problem.runs_mapped)
    if not problem.runs_mapped(config):
        return None
    return Plan(
        config,
        problem.memory(config),
        "ssd",
        _steps_between(problem, wanted, config),
        max(0, problem.ram_shortage(config)),
    )


def _wanted(problem: _Problem) -> LoadConfig:
    """Return what is wanted before anything is given up."""
    overrides = problem.overrides
    trained = problem.header.of_arch("context_length") or MIN_AUTO_CTX
    n_gpu_layers = problem.all_layers if problem.machine.gpus else 0
    if overrides.n_gpu_layers is not None:
        n_gpu_layers = min(overrides.n_gpu_layers, problem.all_layers)
    config = LoadConfig(
        n_ctx=overrides.n_ctx or min(trained, TARGET_CTX),
        kv_type=GgmlType.F16 if overrides.kv_type is None else overrides.kv_type,
        n_ubatch=overrides.n_ubatch or UBATCH_SIZES[0],
        flash_attn=True if overrides.flash_attn is None else overrides.flash_attn,
        n_outputs=_n_outputs(problem),
        mtp=bool(overrides.mtp),
        n_seq=overrides.n_seq,
    )
    cpu_moe_layers = min(overrides.cpu_moe_layers or 0, problem.moe_layers)
    return problem.placed(config, n_gpu_layers=n_gpu_layers, cpu_moe_layers=cpu_moe_layers)


def _n_outputs(problem: _Problem) -> int:
    """Return the rows of logits of one batch: one a conversation, or a token with its drafts."""
    if problem.overrides.mtp is False:
        return problem.overrides.n_seq
    return 1 + (MAX_MTP_DRAFTS if can_draft(problem.header) else MAX_NGRAM_DRAFTS)


def _reduced(config: LoadConfig, changes: Iterable[Change], is_enough: Test) -> LoadConfig:
    """Give up one thing after the other until that is enough.

    Returns:
        The first config that is enough; what all ``changes`` make of it where none is.
    """
    for change in changes:
        if is_enough(config):
            break
        config = change(config)
    return config


def _reductions(problem: _Problem) -> list[Change]:
    """Return what can be given up, in this order."""
    overrides = problem.overrides
    q8_0 = replace(_wanted(problem), kv_type=GgmlType.Q8_0)
    can_quantize_kv = overrides.kv_type is None and not refusal_reason(problem.header, q8_0)
    changes: list[Change] = []
    if overrides.n_ubatch is None:
        changes += [_smaller_ubatch(n_ubatch) for n_ubatch in UBATCH_SIZES[1:]]
    if can_quantize_kv:
        changes.append(_kv_in(GgmlType.Q8_0))
    changes += _offloads(problem)
    if overrides.n_ctx is None:
        changes += [_shorter_context(problem, n_ctx) for n_ctx in _shorter_contexts(problem)]
    if can_quantize_kv:
        q4_0 = _kv_in(GgmlType.Q4_0)
        changes.append(lambda config: _least_offload(problem, q4_0(config)))
    return changes


def _smaller_ubatch(n_ubatch: int) -> Change:
    """Return the change to micro-batches of ``n_ubatch`` tokens."""
    return lambda config: replace(config, n_ubatch=n_ubatch)


def _kv_in(kv_type: GgmlType) -> Change:
    """Return the change to a KV cache of ``kv_type``."""
    return lambda config: replace(config, kv_type=kv_type)


def _shorter_context(problem: _Problem, n_ctx: int) -> Change:
    """Return the change to ``n_ctx`` tokens of context, with all on the GPU that fits then."""
    return lambda config: _least_offload(problem, replace(config, n_ctx=n_ctx))


def _shorter_contexts(problem: _Problem) -> list[int]:
    """Return the contexts to try, in tokens: halves of what is wanted, down to the shortest."""
    contexts = []
    n_ctx = _wanted(problem).n_ctx
    while n_ctx > MIN_AUTO_CTX:
        n_ctx = max(MIN_AUTO_CTX, n_ctx // 2)
        contexts.append(n_ctx)
    return contexts


def _offloads(problem: _Problem) -> list[Change]:
    """Return what can be moved from the GPU to the CPU: experts, then layers, then everything.

    Everything is a choice of its own where the GPU shares the RAM: what it needs besides the
    weights is part of the RAM there, so the whole may fit without it although a part of it on the
    GPU does not.
    """
    if not _wanted(problem).n_gpu_layers:
        return []
    changes: list[Change] = []
    if problem.moe_layers and problem.overrides.cpu_moe_layers is None:
        changes.append(partial(_experts_to_cpu, problem))
    if problem.overrides.n_gpu_layers is None:
        changes.append(partial(_layers_to_cpu, problem))
        if problem.machine.unified:
            changes.append(partial(_everything_to_cpu, problem))
    return changes


def _experts_to_cpu(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with the experts of as few layers in RAM as it takes to fit the GPU."""

    def shortage(n_layers: int) -> int:
        return problem.gpu_shortage(problem.placed(config, cpu_moe_layers=n_layers))

    return problem.placed(config, cpu_moe_layers=_fewest(problem.moe_layers, shortage))


def _layers_to_cpu(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as few layers on the CPU as it takes to fit the GPU."""
    top = config.n_gpu_layers

    def shortage(n_layers: int) -> int:
        return problem.gpu_shortage(problem.placed(config, n_gpu_layers=top - n_layers))

    n_layers = _fewest(top, shortage)
    if n_layers == top:
        return _everything_to_cpu(problem, config)
    return problem.placed(config, n_gpu_layers=top - n_layers)


def _everything_to_cpu(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` without the GPU."""
    cpu_moe_layers = _wanted(problem).cpu_moe_layers
    return problem.placed(config, n_gpu_layers=0, cpu_moe_layers=cpu_moe_layers)


def _least_offload(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as much on the GPU as its other settings allow."""
    wanted = _wanted(problem)
    config = problem.placed(
        config, n_gpu_layers=wanted.n_gpu_layers, cpu_moe_layers=wanted.cpu_moe_layers
    )
    return _reduced(config, _offloads(problem), problem.fits)


def _fewest(most: int, shortage: Callable[[int], int]) -> int:
    """Return the smallest number up to ``most`` at which nothing is short, else ``most``.

    Args:
        most: the largest number.
        shortage: the bytes that are short with a number of layers moved; it never grows with it.
    """
    return bisect.bisect_left(range(most), True, key=lambda n: shortage(n) <= 0)


def _restored(config: LoadConfig, wanted: LoadConfig, is_enough: Test) -> LoadConfig:
    """Take back what was given up in vain.

    What was given up first may not be needed any more after what was given up later.
    """
    for kv_type in (wanted.kv_type, GgmlType.Q8_0):
        better = replace(config, kv_type=kv_type)
        if _kv_size(config) < _kv_size(better) <= _kv_size(wanted) and is_enough(better):
            config = better
            break
    for n_ubatch in (wanted.n_ubatch, *UBATCH_SIZES):
        larger = replace(config, n_ubatch=n_ubatch)
        if config.n_ubatch < n_ubatch <= wanted.n_ubatch and is_enough(larger):
            config = larger
            break
    return config


def _kv_size(config: LoadConfig) -> int:
    """Return the bytes of 256 elements of the KV cache, to compare its types."""
    return config.kv_type.nbytes(256)


def _with_extras(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Add what costs memory and is not asked for, where it fits: repacked weights, then MTP."""
    if not config.n_gpu_layers and not problem.machine.gpus:
        repacked = replace(config, repack=True)
        if problem.fits(repacked):
            config = repacked
    if problem.overrides.mtp is None and can_draft(problem.header):
        drafting = replace(config, mtp=True)
        if problem.fits(drafting):
            config = drafting
    return config


def _verdict(problem: _Problem, config: LoadConfig) -> Verdict:
    """Return where a config that fits runs."""
    if not config.n_gpu_layers:
        return "cpu"
    if config.n_gpu_layers == problem.all_layers and not config.cpu_moe_layers:
        return "gpu"
    return "offload"


def _steps_between(
    problem: _Problem, wanted: LoadConfig, config: LoadConfig
) -> tuple[ReductionStep, ...]:
    """Return what ``config`` gave up of ``wanted``, in order, each with what it saved."""
    smaller_batches = replace(wanted, n_ubatch=config.n_ubatch)
    smaller_kv = replace(smaller_batches, kv_type=config.kv_type)
    offloaded = replace(
        smaller_kv, cpu_moe_layers=config.cpu_moe_layers, n_gpu_layers=config.n_gpu_layers
    )
    shorter = replace(offloaded, n_ctx=config.n_ctx)
    stages = (
        (f"micro-batches of {config.n_ubatch}, not {wanted.n_ubatch}", smaller_batches),
        (f"KV cache in {config.kv_type.name.lower()}", smaller_kv),
        (_describe_offload(problem, config), offloaded),
        (f"a context of {config.n_ctx:,}, not {wanted.n_ctx:,}", shorter),
    )
    steps = []
    before = wanted
    for what, after in stages:
        if after != before:
            steps.append(ReductionStep(what, _saved(problem, before, after)))
        before = after
    return tuple(steps)


def _saved(problem: _Problem, before: LoadConfig, after: LoadConfig) -> int:
    """Return the bytes that ``after`` takes less: on the GPU where there is one, else in RAM."""
    larger, smaller = problem.memory(before).all, problem.memory(after).all
    return larger.gpu - smaller.gpu if larger.gpu else larger.host - smaller.host


def _describe_offload(problem: _Problem, config: LoadConfig) -> str:
    """Return in words what of the model is on the CPU."""
    top = problem.all_layers
    if config.n_gpu_layers == 0:
        return "everything on the CPU"
    if config.n_gpu_layers < top:
        return f"{top - config.n_gpu_layers} of {top} layers on the CPU"
    return f"experts of {config.cpu_moe_layers} of {problem.moe_layers} layers on the CPU"


def _usable(budget: int) -> int:
    """Return the bytes of ``budget`` that a plan may use."""
    return round(budget * (1 - HEADROOM))
