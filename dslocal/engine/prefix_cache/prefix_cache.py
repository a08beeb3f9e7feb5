"""Decide which evaluated prompts are kept on disk, and when they are loaded again.

A prompt is kept where evaluating it again would take long: when its answer is complete and much of
it is new ("cold"), when another conversation takes its slot, and when the model is unloaded or the
server ends. llama.cpp writes a state between two steps; the rest happens in a thread. It is a
cache: what cannot be written or read is evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.engine.kv_cache.kv_state import (
    CheckedState,
    UnsealedState,
    load_state,
    state_bytes,
    write_state,
)
from dslocal.prefix import common_prefix_length

from .store import PrefixStore

if TYPE_CHECKING:
    from dslocal.engine.context import LlamaContext
    from dslocal.engine.interface import EngineContext

MIN_SAVED_S = 1.0  # of evaluation that a file must save
MIN_READ_TOKENS = 256  # that a file must save where it is not known how fast they are evaluated
MIN_NEW_SHARE = 0.25  # of a prompt that must be new for it to be written while others wait
MIN_NEW_TOKENS = 32  # that must be new for it to be written at the end


class PrefixCache:
    """The evaluated prompts of one loaded model. Close it before its contexts."""

    def __init__(self, store: PrefixStore, n_ctx: int, *, min_saved_s: float = MIN_SAVED_S) -> None:
        """Keep what contexts of ``n_ctx`` tokens evaluate in ``store``.

        Args:
            store: The files.
            n_ctx: Tokens of context.
            min_saved_s: Seconds of evaluation that a file must save.
        """
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="prefix cache")
        self._store = store
        self._n_ctx = n_ctx
        self._min_saved_s = min_saved_s
        self._being_written: dict[int, list[int]] = {}  # token ids, by a number

    @property
    def folder(self) -> Path:
        """Return the folder of the model's files, which may not exist yet."""
        return self._store.folder

    def may_help(self, context: LlamaContext, missing: int) -> bool:
        """Return whether ``missing`` tokens of a prompt are enough to look for a file."""
        if not context.times.prompt_token_s:  # nothing was evaluated yet
            return missing >= MIN_READ_TOKENS
        return missing >= MIN_NEW_TOKENS and self._is_worth(context, missing)

    def find(self, context: LlamaContext, ids: Sequence[int], have: int) -> CheckedState | None:
        """Return a state with which much more than ``have`` tokens of a prompt are evaluated.

        Reads the whole file. For any thread.

        Args:
            context: Where the prompt is to be evaluated.
            ids: The prompt.
            have: How many of its tokens need not be evaluated without a file.
        """
        stored, usable = self._store.find(ids[:-1])
        if stored is None or not self.may_help(context, usable - have):
            return None
        return self._store.check(stored, self._n_ctx)

    def load(self, context: LlamaContext, state: CheckedState) -> None:
        """Fill the cache of ``context``, which this thread may use, with a state."""
        _between_steps(context, lambda: load_state(context, state))

    def keep_cold(self, context: LlamaContext) -> None:
        """Keep what ``context`` holds after an answer, if much of it is new."""
        length = len(context.ids)
        if self._is_worth(context, length):
            new = self._new_tokens(context)
            if new >= MIN_NEW_SHARE * length and self._is_worth(context, new):
                self._write(context)

    def keep_evicted(self, context: LlamaContext, left: int) -> None:
        """Keep what ``context`` holds before all but the first ``left`` tokens are given up."""
        lost = len(context.ids) - left
        if self._is_worth(context, lost) and self._is_worth(context, self._new_tokens(context)):
            self._write(context)

    def keep_last(self, context: LlamaContext) -> None:
        """Keep what ``context`` holds before it is closed."""
        if not self._is_worth(context, len(context.ids)):
            return
        if self._new_tokens(context) >= MIN_NEW_TOKENS:
            self._write(context)

    def close(self) -> None:
        """Wait until all is written."""
        self.threads.shutdown()

    def _is_worth(self, context: LlamaContext, tokens: int) -> bool:
        """Return whether evaluating so many tokens takes long enough to be saved."""
        return tokens > 0 and tokens * context.times.prompt_token_s >= self._min_saved_s

    def _new_tokens(self, context: LlamaContext) -> int:
        """Return how many of the tokens of ``context`` no file holds."""
        kept = self._store.find(context.ids)[1]
        for ids in list(self._being_written.values()):
            kept = max(kept, common_prefix_length(ids, context.ids))
        return len(context.ids) - kept

    def _write(self, context: LlamaContext) -> None:
        """Write the state of ``context``: llama.cpp's part now, the rest in a thread."""

        def write() -> None:
            context.drop_trimmed()
            if not context.ids or not self._store.has_room(state_bytes(context)):
                return
            path, beside = self._store.places(context.ids)
            unsealed = write_state(context, self._store.identity, path, beside)
            self._being_written[id(unsealed)] = list(context.ids)
            self.threads.submit(seal, unsealed)

        def seal(unsealed: UnsealedState) -> None:
            with suppress(OSError):
                self._store.seal(unsealed)
            del self._being_written[id(unsealed)]

        _between_steps(context, write)


def shared_tokens(ids: Sequence[int], *contexts: EngineContext | None) -> int:
    """Return how many tokens of a prompt the contexts hold that it may be evaluated in."""
    return max(common_prefix_length(context.ids, ids) for context in contexts if context)


def _between_steps(context: LlamaContext, function: Callable[[], object]) -> None:
    """Call ``function`` while nothing is evaluated. What fails for want of disk is not done."""

    def call() -> None:
        with suppress(OSError):
            function()

    context.call_between_steps(call)
