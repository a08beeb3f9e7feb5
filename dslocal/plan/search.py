"""Search for the best way to run a model on a machine.

The search starts from what is wanted and gives up one thing after the other until the model fits
(:mod:`.reductions`). What fits neither the GPU's budget nor the RAM is read from the SSD as it is
needed. What the user decided is never changed: it fits, or the error says what would.

Knows what configs take of a machine's budget (:mod:`.budget`). Does not know how a model is loaded,
or how fast it will be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import cpu_work_bytes
from dslocal.plan.memory.shape import can_draft

from .budget import Budget
from .cluster.spread import LayerSpread, best_spread
from .expert_streaming import with_streaming
from .load_config import DeviceShare, LoadConfig, MemoryUse
from .overrides import NO_OVERRIDES, Overrides
from .reductions import (
    ReductionStep,
    SearchProblem,
    reduced,
    reductions,
    restored,
    steps_between,
    wanted_config,
    with_larger_ubatch,
)

Verdict = Literal["gpu", "offload", "cpu", "workers", "ssd", "no"]


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
    problem = SearchProblem(Budget(header, machine), overrides)
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
    if overrides.n_ubatch is None:
        config = with_larger_ubatch(problem.budget, config)
    lacking = max(0, problem.budget.ram_shortage(config)) if found.verdict == "ssd" else 0
    memory = problem.budget.memory(config)
    return replace(found, load_config=config, memory=memory, lacking=lacking)


def _plan_with_workers(header: GgufHeader, machine: Machine, overrides: Overrides) -> Plan:
    """Return the plan to run a model on this machine and its workers together.

    Given up is the same as on one machine without a GPU: which layers go where, follows from it.

    Raises:
        UsageError: what the user decided excludes workers.
    """
    if overrides.cpu_moe_layers is not None or overrides.stream_experts:
        option = "--stream-experts" if overrides.cpu_moe_layers is None else "--cpu-moe"
        raise UsageError(
            f"{option} and --rpc cannot be combined",
            hint="workers hold whole layers with their experts",
        )
    here = Budget(header, replace(machine, workers=(), gpus=()))
    problem = SearchProblem(here, replace(overrides, n_gpu_layers=None))
    wanted = wanted_config(problem)
    here.memory(wanted)  # raises what cannot be had at all

    def spread(config: LoadConfig) -> LayerSpread | None:
        return best_spread(header, config, machine, overrides.n_gpu_layers)

    def fits(config: LoadConfig) -> bool:
        return spread(config) is not None

    config = restored(reduced(wanted, reductions(problem), fits), wanted, fits)
    found = spread(config)
    if found is None:
        lacking = max(1, here.memory(config).all.total - _free_everywhere(machine))
        return Plan(config, here.memory(config), "no", lacking=lacking)
    if not found.uses_workers:
        return make_plan(header, replace(machine, workers=()), overrides)
    steps = steps_between(here, wanted, config)
    memory = _memory_here(here.memory(config), found, cpu_work_bytes(header, config))
    return Plan(found.config, memory, "workers", steps, spread=found)


def _free_everywhere(machine: Machine) -> int:
    """Return the bytes that are free on a machine and its workers."""
    here = machine.available + (0 if machine.unified else machine.vram)
    return here + sum(each.free for each in machine.workers)


def _memory_here(alone: MemoryUse, found: LayerSpread, work: int) -> MemoryUse:
    """Return what a spread takes of this machine.

    Args:
        alone: what the model would take if all of it were here, on the CPU.
        found: the spread.
        work: what the CPU takes of that while it computes, which it does not without a layer.
    """
    cpu = [share for share in found.shares if share.place.number < 0]
    gpus = [share for share in found.shares if share.place.number >= 0 and not share.place.endpoint]

    def part(name: str) -> DeviceShare:
        sizes = [sum(getattr(share, name) for share in shares) for shares in (gpus, cpu)]
        return DeviceShare(sizes[0], sizes[1])

    saved = 0 if any(share.layers for share in cpu) else work
    return replace(
        alone,
        weights=part("weights"),
        kv=part("kv"),
        compute=part("compute"),
        overhead=DeviceShare(alone.overhead.gpu, alone.overhead.host - saved),
    )


def _search(problem: SearchProblem) -> Plan:
    """Return the plan for a problem, whichever way experts are read."""
    budget = problem.budget
    wanted = wanted_config(problem)
    budget.memory(wanted)  # raises what cannot be had at all
    if not _holds_weights(problem, wanted) and (from_ssd := _plan_from_ssd(problem)):
        return from_ssd
    config = reduced(wanted, reductions(problem), budget.fits)
    if not budget.fits(config):
        lacking = max(budget.gpu_shortage(config), budget.ram_shortage(config))
        return _plan_from_ssd(problem) or Plan(config, budget.memory(config), "no", lacking=lacking)
    config = _with_extras(problem, restored(config, wanted, budget.fits))
    steps = steps_between(budget, wanted, config)
    return Plan(config, budget.memory(config), _verdict(budget, config), steps)


def _holds_weights(problem: SearchProblem, wanted: LoadConfig) -> bool:
    """Return whether there is room for the weights alone: a quick way to know what a search finds.

    Weights take least on the CPU: on a GPU the output of a model with tied embeddings is a copy of
    them.
    """
    if problem.overrides.n_gpu_layers is None:
        wanted = problem.budget.placed(wanted, n_gpu_layers=0)
    return problem.budget.holds_weights(wanted)


def _plan_from_ssd(problem: SearchProblem) -> Plan | None:
    """Return a plan that maps the weights in RAM and reads them as they are needed.

    All the rest must fit; None where it does not. With unified memory everything is on the CPU.
    """
    budget = problem.budget
    if budget.machine.unified:
        budget = Budget(budget.header, replace(budget.machine, gpus=()))
        problem = SearchProblem(budget, problem.overrides)
    wanted = wanted_config(problem)
    config = reduced(wanted, reductions(problem), budget.runs_mapped)
    config = restored(config, wanted, budget.runs_mapped)
    if not budget.runs_mapped(config):
        return None
    steps = steps_between(budget, wanted, config)
    lacking = max(0, budget.ram_shortage(config))
    return Plan(config, budget.memory(config), "ssd", steps, lacking)


def _with_extras(problem: SearchProblem, config: LoadConfig) -> LoadConfig:
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
