"""Evaluate the known beginning of the next prompt into the KV cache while the user types.

A prompt leaves out the reasoning of earlier answers. So after every answer, the cache holds tokens
that the next prompt lacks, and everything after them must be evaluated again. This happens in the
background, in small steps. It stops at once when the next question comes, whose evaluation
continues from there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dslocal.prefix import common_prefix_length

if TYPE_CHECKING:
    from dslocal.engine import EngineContext

STEP = 64  # tokens that are evaluated at a time, and lost at most


class Repair:
    """Evaluate token ids in a thread until :meth:`stop`, or until it is done.

    Nothing else may use the context meanwhile.
    """

    def __init__(self, context: EngineContext, ids: Sequence[int]) -> None:
        """Prepare to bring ``context`` to ``ids``.

        Another engine keeps by itself what it has evaluated: then there is nothing to do.
        """
        from dslocal.engine import LlamaContext

        self._context = context if isinstance(context, LlamaContext) else None
        self._ids = list(ids)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread, if there is anything to do."""
        if self._ids and self._context:
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and return once it has let go of the context.

        That takes no longer than one node of the graph.
        """
        self._stop.set()
        if self._thread.ident is None or self._context is None:
            return
        while self._thread.is_alive():
            self._context.abort.set()
            self._thread.join(0.01)
        self._context.abort.clear()

    def _run(self) -> None:
        from dslocal.errors import EngineError

        context = self._context
        ids = self._ids
        if context is None:
            return
        shared = common_prefix_length(context.ids, ids)
        if shared == len(ids):
            return  # the next prompt removes what lies behind
        try:
            for end in range(shared + STEP, len(ids) + STEP, STEP):
                if self._stop.is_set():
                    return
                context.prefill(ids[:end])
        except (KeyboardInterrupt, EngineError):
            return  # it was stopped, or it failed as the next prompt will fail, with a message
