"""The evaluated prompts that a server keeps on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dslocal.home.paths import prefix_dir

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext
    from dslocal.engine.prefix_cache.prefix_cache import PrefixCache


@contextmanager
def open_prefix_cache(slots: Sequence[LlamaContext], budget: int) -> Iterator[PrefixCache | None]:
    """Yield what keeps the prompts that ``slots`` evaluate on disk, and keep the last of them.

    Args:
        slots: The slots of one model.
        budget: Bytes that the files of all models may take; with 0 nothing is kept.
    """
    from dslocal.engine.kv_state import state_identity
    from dslocal.engine.prefix_cache.prefix_cache import PrefixCache
    from dslocal.engine.prefix_cache.store import PrefixStore

    if not budget:
        yield None
        return
    first = slots[0]
    store = PrefixStore(
        prefix_dir(), state_identity(first), budget, can_cut=not first.memory.max_checkpoints
    )
    cache = PrefixCache(store, first.n_ctx)
    try:
        yield cache
        for slot in slots:
            with suppress(KeyboardInterrupt):  # its pool was closed
                cache.keep_last(slot)
    finally:
        cache.close()
