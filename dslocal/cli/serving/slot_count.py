"""Choose the number of slots: as requested, or as many as do not shorten the context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.errors import DoesNotFitError, UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.overrides import Overrides

from .serve_options import DEFAULT_SLOTS

if TYPE_CHECKING:
    from dslocal.engine import EngineContext

ENGINE_SLOTS = 32  # answers that are asked of an engine at once, which has a queue of its own


def with_slots(
    path: Path, header: GgufHeader, parallel: int | None, chosen: Overrides
) -> Overrides:
    """Return ``chosen`` with a number of slots, each with a context of its own.

    Without ``parallel`` there are up to DEFAULT_SLOTS, as long as each has what one alone would
    have. Several slots do not draft ahead.

    Raises:
        UsageError: Drafting was asked for, and several slots.
    """
    if parallel is not None or chosen.mtp:
        return _with_slots_as_asked(parallel or 1, chosen)
    from dslocal.engine import loader

    alone = loader.plan_for(path, header, replace(chosen, mtp=False))
    if alone.verdict == "ssd":
        return chosen
    for slots in range(DEFAULT_SLOTS, 1, -1):
        several = replace(chosen, n_seq=slots, mtp=False)
        try:
            planned = loader.plan_for(path, header, several)
        except DoesNotFitError:
            continue
        if _is_as_good(planned.load_config, alone.load_config):
            return several
    return chosen


def _with_slots_as_asked(slots: int, chosen: Overrides) -> Overrides:
    if slots == 1:
        return chosen
    if chosen.mtp:
        raise UsageError(
            "--mtp on drafts for one conversation only", hint="use --parallel 1, or --mtp auto"
        )
    return replace(chosen, n_seq=slots, mtp=False)


def _is_as_good(several: LoadConfig, alone: LoadConfig) -> bool:
    """Return whether each of several slots has what one alone would have."""
    as_one = replace(several, n_seq=1, n_outputs=1, repack=alone.repack, load_mode=alone.load_mode)
    return as_one == replace(alone, n_outputs=1)


@contextmanager
def open_slots(
    context: EngineContext, parallel: int | None = None
) -> Iterator[Sequence[EngineContext]]:
    """Yield the slots that generate answers, or the context itself if it is for one conversation.

    Args:
        context: The context, of a model that is loaded here or of an engine.
        parallel: How many answers are asked of an engine at once; None for as many as it has slots
            for, else ENGINE_SLOTS.
    """
    from dslocal.engine import LlamaContext
    from dslocal.engine.remote import RemoteContext

    if isinstance(context, RemoteContext):
        count = parallel or context.engine.slots or ENGINE_SLOTS
        yield [context, *(context.another() for _ in range(count - 1))]
        return
    if not isinstance(context, LlamaContext):
        raise TypeError(type(context))
    if context.load_config.n_seq == 1:
        yield [context]
        return
    from dslocal.engine.slots.slot_pool import SlotPool

    with SlotPool(context) as pool:
        yield pool.slots
