"""Search for the best way to run a model on a machine.

The search starts from what is wanted and gives up one thing after the other until the model fits.
Order, first what costs nothing, last what costs quality: smaller micro-batches, q8_0 KV, routed
experts or whole layers to the CPU, a shorter context (never under ``MIN_AUTO_CTX`` unasked), q4_0
KV. What fits neither the GPU's budget nor the RAM is read from the SSD as it is needed. What the
user decided is never changed: it fits, or the error says what would.

Knows what configs take of a machine's budget (:mod:`.budget`). Does not know how a
model is loaded, or how fast it will be.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import refusal_reason
from dslocal.plan.memory.shape import can_draft, max_model_drafts

from .budget import Budget
from .cluster.spread import LayerSpread, best_spread
from .expert_streaming import with_streaming
from .load_config import MAX_NGRAM_DRAFTS, DeviceShare, LoadConfig, MemoryUse

Verdict = Literal["gpu", "offload", "cpu", "workers", "ssd", "no"]
TARGET_CTX = 32768  # tokens: what R1's model card allows an answer
MIN_AUTO_CTX = 4096  # tokens: the shortest context that a plan takes unasked
UBATCH_SIZES = (512, 256, 128, 64)  # tokens of a micro-batch, from the largest on


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
        stream_experts: whether experts in RAM are read ahead, as their router chooses them.
        max_ram: bytes of RAM that the model may take, of those that are free.
        rpc: the machines that lend their memory, each as ``HOST:PORT``.
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
    stream_experts: bool | None = None
    max_ram: int | None = None
    rpc: tuple[str, ...] = ()


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
        verdict: where the model runs: "gpu", "offload" (GPU and CPU), "cpu", "workers" (other
            machines take part), "ssd" (read as it is needed), or "no".
        gave_up: what was given up, in this order.
        lacking: bytes by which it does not fit, when the verdict is "ssd" or "no".
        spread: what each machine gets, when the verdict is "workers"; ``memory`` is this machine's.
    """

    load_config: LoadConfig
    memory: MemoryUse
    verdict: Verdict
    gave_up: tuple[ReductionStep, ...] = ()
    lacking: int = 0
    spread: LayerSpread | None = None


Change: TypeAlias = Callable[[LoadConfig], LoadConfig]  # gives up one thing more
Test: TypeAlias = Callable[[LoadConfig], bool]  # whether a config takes little enough


class _Problem(NamedTuple):
    """What is searched for: a load config within a budget that keeps to the overrides."""

    budget: Budget
    overrides: Overrides


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
    if machine.workers:
        return _plan_with_workers(header, machine, overrides)
    problem = _Problem(Budget(header, machine), overrides)
    found = _search(problem)
    if found.verdict == "no":
        return found
    config = with_streaming(
        header,
        machine,
        found.load_config,
        overrides.stream_experts,
        from_ssd=found.verdict == "ssd",
    )
    if config == found.load_config:
        return found
    return replace(found, load_config=config, memory=problem.budget.memory(config))


def _plan_with_workers(header: GgufHeader, machine: Machine, overrides: Overrides) -> Plan:
    """Return the plan to run a model on this machine and its workers together.

    Given up is the same as on one machine without a GPU: which layers go where, follows from it.

    Raises:
        UsageError: what the user decided excludes workers.
    """
    if overrides.cpu_moe_layers is not None or overrides.stream_experts:
        option = "--stream-experts" if overrides.cpu_moe_layers is None else "--cpu-moe"
        raise UsageError(
            f"{option} and --rpc exclude each other", hint="workers hold whole layers, experts too"
        )
    here = Budget(header, replace(machine, workers=(), gpus=()))
    problem = _Problem(here, replace(overrides, n_gpu_layers=None))
    wanted = _wanted(problem)
    here.memory(wanted)  # raises what cannot be had at all

    def spread(config: LoadConfig) -> LayerSpread | None:
        return best_spread(header, config, machine, overrides.n_gpu_layers)

    def fits(config: LoadConfig) -> bool:
        return spread(config) is not None

    config = _restored(_reduced(wanted, _reductions(problem), fits), wanted, fits)
    found = spread(config)
    if found is None:
        lacking = max(1, here.memory(config).all.total - _free_everywhere(machine))
        return Plan(config, here.memory(config), "no", lacking=lacking)
    if not found.uses_workers:
        return make_plan(header, replace(machine, workers=()), overrides)
    steps = _steps_between(here, wanted, config)
    memory = _memory_here(here.memory(config), found)
    return Plan(found.config, memory, "workers", steps, spread=found)


def _free_everywhere(machine: Machine) -> int:
    """Return the bytes that are free on a machine and its workers."""
    here = machine.available + (0 if machine.unified else machine.vram)
    return here + sum(each.free for each in machine.workers)


def _memory_here(alone: MemoryUse, found: LayerSpread) -> MemoryUse:
    """Return what a spread takes of this machine.

    Args:
        alone: what the model would take if all of it were here, on the CPU.
        found: the spread.
    """
    cpu = [share for share in found.shares if share.place.number < 0]
    gpus = [share for share in found.shares if share.place.number >= 0 and not share.place.endpoint]

    def part(name: str) -> DeviceShare:
        sizes = [sum(getattr(share, name) for share in shares) for shares in (gpus, cpu)]
        return DeviceShare(sizes[0], sizes[1])

    return replace(alone, weights=part("weights"), kv=part("kv"), compute=part("compute"))


def _search(problem: _Problem) -> Plan:
    """Return the plan for a problem, whichever way experts are read."""
    budget = problem.budget
    wanted = _wanted(problem)
    budget.memory(wanted)  # raises what cannot be had at all
    if not _holds_weights(problem, wanted) and (from_ssd := _plan_from_ssd(problem)):
        return from_ssd
    config = _reduced(wanted, _reductions(problem), budget.fits)
    if not budget.fits(config):
        lacking = max(budget.gpu_shortage(config), budget.ram_shortage(config))
        return _plan_from_ssd(problem) or Plan(config, budget.memory(config), "no", lacking=lacking)
    config = _with_extras(problem, _restored(config, wanted, budget.fits))
    steps = _steps_between(budget, wanted, config)
    return Plan(config, budget.memory(config), _verdict(budget, config), steps)


def _holds_weights(problem: _Problem, wanted: LoadConfig) -> bool:
    """Return whether there is room for the weights alone: a quick way to know what a search finds.

    Weights take least on the CPU: on a GPU the output of a model with tied embeddings is a copy of
    them.
    """
    if problem.overrides.n_gpu_layers is None:
        wanted = problem.budget.placed(wanted, n_gpu_layers=0)
    return problem.budget.holds_weights(wanted)


def _plan_from_ssd(problem: _Problem) -> Plan | None:
    """Return a plan that maps the weights in RAM and reads them as they are needed.

    All the rest must fit; None where it does not. With unified memory everything is on the CPU.
    """
    budget = problem.budget
    if budget.machine.unified:
        budget = Budget(budget.header, replace(budget.machine, gpus=()))
        problem = _Problem(budget, problem.overrides)
    wanted = _wanted(problem)
    config = _reduced(wanted, _reductions(problem), budget.runs_mapped)
    config = _restored(config, wanted, budget.runs_mapped)
    if not budget.runs_mapped(config):
        return None
    steps = _steps_between(budget, wanted, config)
    lacking = max(0, budget.ram_shortage(config))
    return Plan(config, budget.memory(config), "ssd", steps, lacking)


def _wanted(problem: _Problem) -> LoadConfig:
    """Return what is wanted before anything is given up."""
    budget, overrides = problem
    trained = budget.header.of_arch("context_length") or MIN_AUTO_CTX
    n_gpu_layers = budget.all_layers if budget.machine.gpus else 0
    if overrides.n_gpu_layers is not None:
        n_gpu_layers = min(overrides.n_gpu_layers, budget.all_layers)
    config = LoadConfig(
        n_ctx=overrides.n_ctx or min(trained, TARGET_CTX),
        kv_type=GgmlType.F16 if overrides.kv_type is None else overrides.kv_type,
        n_ubatch=overrides.n_ubatch or UBATCH_SIZES[0],
        flash_attn=True if overrides.flash_attn is None else overrides.flash_attn,
        n_outputs=_n_outputs(problem),
        mtp=bool(overrides.mtp),
        n_seq=overrides.n_seq,
    )
    cpu_moe_layers = min(overrides.cpu_moe_layers or 0, budget.moe_layers)
    return budget.placed(config, n_gpu_layers=n_gpu_layers, cpu_moe_layers=cpu_moe_layers)


def _n_outputs(problem: _Problem) -> int:
    """Return the rows of logits of one batch: one a conversation, or a token with its drafts."""
    if problem.overrides.mtp is False:
        return problem.overrides.n_seq
    header = problem.budget.header
    return 1 + (max_model_drafts(header) if can_draft(header) else MAX_NGRAM_DRAFTS)


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
    can_quantize_kv = overrides.kv_type is None and not refusal_reason(problem.budget.header, q8_0)
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
    if problem.budget.moe_layers and problem.overrides.cpu_moe_layers is None:
        changes.append(partial(_experts_to_cpu, problem.budget))
    if problem.overrides.n_gpu_layers is None:
        changes.append(partial(_layers_to_cpu, problem))
        if problem.budget.machine.unified:
            changes.append(partial(_everything_to_cpu, problem))
    return changes


def _experts_to_cpu(budget: Budget, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with the experts of as few layers in RAM as it takes to fit the GPU."""

    def shortage(n_layers: int) -> int:
        return budget.gpu_shortage(budget.placed(config, cpu_moe_layers=n_layers))

    return budget.placed(config, cpu_moe_layers=_fewest(budget.moe_layers, shortage))


def _layers_to_cpu(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as few layers on the CPU as it takes to fit the GPU."""
    budget = problem.budget
    top = config.n_gpu_layers

    def shortage(n_layers: int) -> int:
        return budget.gpu_shortage(budget.placed(config, n_gpu_layers=top - n_layers))

    n_layers = _fewest(top, shortage)
    if n_layers == top:
        return _everything_to_cpu(problem, config)
    return budget.placed(config, n_gpu_layers=top - n_layers)


def _everything_to_cpu(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` without the GPU."""
    cpu_moe_layers = _wanted(problem).cpu_moe_layers
    return problem.budget.placed(config, n_gpu_layers=0, cpu_moe_layers=cpu_moe_layers)


def _least_offload(problem: _Problem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as much on the GPU as its other settings allow."""
    wanted = _wanted(problem)
    config = problem.budget.placed(
        config, n_gpu_layers=wanted.n_gpu_layers, cpu_moe_layers=wanted.cpu_moe_layers
    )
    return _reduced(config, _offloads(problem), problem.budget.fits)


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
    config = problem.budget.repacked(config) or config
    if problem.overrides.mtp is None and can_draft(problem.budget.header):
        drafting = replace(config, mtp=True)
        if problem.budget.fits(drafting):
            config = drafting
    return config


def _verdict(budget: Budget, config: LoadConfig) -> Verdict:
    """Return where a config that fits runs."""
    if not config.n_gpu_layers:
        return "cpu"
    if config.n_gpu_layers == budget.all_layers and not config.cpu_moe_layers:
        return "gpu"
    return "offload"


def _steps_between(
    budget: Budget, wanted: LoadConfig, config: LoadConfig
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
        (_describe_offload(budget, config), offloaded),
        (f"a context of {config.n_ctx:,}, not {wanted.n_ctx:,}", shorter),
    )
    steps = []
    before = wanted
    for what, after in stages:
        if after != before:
            steps.append(ReductionStep(what, _saved(budget, before, after)))
        before = after
    return tuple(steps)


def _saved(budget: Budget, before: LoadConfig, after: LoadConfig) -> int:
    """Return the bytes that ``after`` takes less: on the GPU where there is one, else in RAM."""
    larger, smaller = budget.memory(before).all, budget.memory(after).all
    return larger.gpu - smaller.gpu if larger.gpu else larger.host - smaller.host


def _describe_offload(budget: Budget, config: LoadConfig) -> str:
    """Return in words what of the model is on the CPU."""
    top = budget.all_layers
    if config.n_gpu_layers == 0:
        return "everything on the CPU"
    if config.n_gpu_layers < top:
        return f"{top - config.n_gpu_layers} of {top} layers on the CPU"
    return f"experts of {config.cpu_moe_layers} of {budget.moe_layers} layers on the CPU"
