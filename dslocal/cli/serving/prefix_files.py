"""The evaluated prompts that a server keeps on disk, and the answers with calls beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dslocal.home.paths import prefix_dir

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.engine.prefix_cache.prefix_cache import PrefixCache
    from dslocal.server.preparation.sampled_answers import SampledAnswers

ANSWERS = "answers.calls"  # dslocal.catalog.leftovers knows the ending


def kept_answers(context: EngineContext, prefix_cache: PrefixCache | None) -> SampledAnswers:
    """Return a model's answers with calls, those of earlier servers among them.

    Args:
        context: One of the contexts that generate.
        prefix_cache: Has the folder where they are kept; None for memory alone.
    """
    from dslocal.server.preparation.answer_log import AnswerLog
    from dslocal.server.preparation.sampled_answers import SampledAnswers

    log = AnswerLog(prefix_cache.folder / ANSWERS) if prefix_cache else None
    return SampledAnswers(context.model, log=log)


@contextmanager
def open_prefix_cache(slots: Sequence[EngineContext], budget: int) -> Iterator[PrefixCache | None]:
    """Yield what keeps the prompts that ``slots`` evaluate on disk, and keep the last of them.

    Args:
        slots: The slots of one model. Of an engine's nothing is kept: it has a cache of its own.
        budget: Bytes that the files of all models may take; with 0 nothing is kept.
    """
    from dslocal.engine import LlamaContext
    from dslocal.engine.kv_cache.kv_state import state_identity
    from dslocal.engine.prefix_cache.prefix_cache import PrefixCache
    from dslocal.engine.prefix_cache.store import PrefixStore

    kept = [slot for slot in slots if isinstance(slot, LlamaContext)]
    if not budget or not kept:
        yield None
        return
    first = kept[0]
    store = PrefixStore(
        prefix_dir(), state_identity(first), budget, can_cut=not first.memory.max_checkpoints
    )
    cache = PrefixCache(store, first.n_ctx)
    try:
        yield cache
        for slot in kept:
            with suppress(KeyboardInterrupt):  # its pool was closed
                cache.keep_last(slot)
    finally:
        cache.close()
