"""The reduction steps that make a model fit, in their order, and which of them are undone.

First comes what costs nothing, last what costs quality: smaller micro-batches, q8_0 KV, routed
experts or whole layers to the CPU, a shorter context (never under ``MIN_AUTO_CTX`` unasked), q4_0
KV.

Knows what configs take of a budget (:mod:`.budget`). Does not know when enough is given up: the
caller tests that (:mod:`.search`).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeAlias

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.memory.footprint import refusal_reason
from dslocal.plan.memory.shape import can_draft, max_model_drafts

from .budget import Budget
from .load_config import MAX_NGRAM_DRAFTS, LoadConfig
from .overrides import Overrides

TARGET_CTX = 32768  # tokens: what R1's model card allows an answer
MIN_AUTO_CTX = 4096  # tokens: the shortest context that a plan takes unasked
UBATCH_SIZES = (512, 256, 128, 64)  # tokens of a micro-batch, from the largest on
# The same where experts are streamed: a prompt reads nearly all of them for each micro-batch. What
# these take more than the sizes above is taken from the experts in memory, so it may be this part.
STREAMED_UBATCH_SIZES = (2048, 1024)
STREAMED_UBATCH_PART = 16  # of the available RAM, at most


@dataclass(frozen=True)
class ReductionStep:
    """Something that was given up.

    Attributes:
        what: in words.
        saved: bytes that it saved where they were short, on the GPU or in RAM.
    """

    what: str
    saved: int


Change: TypeAlias = Callable[[LoadConfig], LoadConfig]  # gives up one thing more
Test: TypeAlias = Callable[[LoadConfig], bool]  # whether a config takes little enough


class SearchProblem(NamedTuple):
    """What is searched for: a load config within a budget that keeps to the overrides."""

    budget: Budget
    overrides: Overrides


def wanted_config(problem: SearchProblem) -> LoadConfig:
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


def _n_outputs(problem: SearchProblem) -> int:
    """Return the rows of logits of one batch: one a conversation, or a token with its drafts."""
    if problem.overrides.mtp is False:
        return problem.overrides.n_seq
    header = problem.budget.header
    return 1 + (max_model_drafts(header) if can_draft(header) else MAX_NGRAM_DRAFTS)


def reduced(config: LoadConfig, changes: Iterable[Change], is_enough: Test) -> LoadConfig:
    """Give up one thing after the other until that is enough.

    Returns:
        The first config that is enough; what all ``changes`` make of it where none is.
    """
    for change in changes:
        if is_enough(config):
            break
        config = change(config)
    return config


def reductions(problem: SearchProblem) -> list[Change]:
    """Return what can be given up, in this order."""
    overrides = problem.overrides
    q8_0 = replace(wanted_config(problem), kv_type=GgmlType.Q8_0)
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


def _shorter_context(problem: SearchProblem, n_ctx: int) -> Change:
    """Return the change to ``n_ctx`` tokens of context, with all on the GPU that fits then."""
    return lambda config: _least_offload(problem, replace(config, n_ctx=n_ctx))


def _shorter_contexts(problem: SearchProblem) -> list[int]:
    """Return the contexts to try, in tokens: halves of what is wanted, down to the shortest."""
    contexts = []
    n_ctx = wanted_config(problem).n_ctx
    while n_ctx > MIN_AUTO_CTX:
        n_ctx = max(MIN_AUTO_CTX, n_ctx // 2)
        contexts.append(n_ctx)
    return contexts


def _offloads(problem: SearchProblem) -> list[Change]:
    """Return what can be moved from the GPU to the CPU: experts, then layers, then everything.

    Everything is a choice of its own where the GPU shares the RAM: what it needs besides the
    weights is part of the RAM there, so the whole may fit without it although a part of it on the
    GPU does not.
    """
    if not wanted_config(problem).n_gpu_layers:
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


def _layers_to_cpu(problem: SearchProblem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as few layers on the CPU as it takes to fit the GPU."""
    budget = problem.budget
    top = config.n_gpu_layers

    def shortage(n_layers: int) -> int:
        return budget.gpu_shortage(budget.placed(config, n_gpu_layers=top - n_layers))

    n_layers = _fewest(top, shortage)
    if n_layers == top:
        return _everything_to_cpu(problem, config)
    return budget.placed(config, n_gpu_layers=top - n_layers)


def _everything_to_cpu(problem: SearchProblem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` without the GPU."""
    cpu_moe_layers = wanted_config(problem).cpu_moe_layers
    return problem.budget.placed(config, n_gpu_layers=0, cpu_moe_layers=cpu_moe_layers)


def _least_offload(problem: SearchProblem, config: LoadConfig) -> LoadConfig:
    """Return ``config`` with as much on the GPU as its other settings allow."""
    wanted = wanted_config(problem)
    config = problem.budget.placed(
        config, n_gpu_layers=wanted.n_gpu_layers, cpu_moe_layers=wanted.cpu_moe_layers
    )
    return reduced(config, _offloads(problem), problem.budget.fits)


def _fewest(most: int, shortage: Callable[[int], int]) -> int:
    """Return the smallest number up to ``most`` at which nothing is short, else ``most``.

    Args:
        most: the largest number.
        shortage: the bytes that are short with a number of layers moved; it never grows with it.
    """
    return bisect.bisect_left(range(most), True, key=lambda n: shortage(n) <= 0)


def restored(config: LoadConfig, wanted: LoadConfig, is_enough: Test) -> LoadConfig:
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


def with_larger_ubatch(budget: Budget, config: LoadConfig) -> LoadConfig:
    """Return ``config``, which streams experts, with micro-batches as large as the memory allows.

    Nothing is changed where memory is so short that micro-batches were made smaller.
    """
    if config.n_ubatch < UBATCH_SIZES[0]:
        return config
    before = budget.memory(config).all.host
    for n_ubatch in STREAMED_UBATCH_SIZES:
        larger = replace(config, n_ubatch=n_ubatch)
        growth = budget.memory(larger).all.host - before
        is_cheap = growth * STREAMED_UBATCH_PART <= budget.machine.available
        if n_ubatch <= config.n_ctx and is_cheap and budget.runs_mapped(larger):
            return larger
    return config


def _kv_size(config: LoadConfig) -> int:
    """Return the bytes of 256 elements of the KV cache, to compare its types."""
    return config.kv_type.nbytes(256)


def steps_between(
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
