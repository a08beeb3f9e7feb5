"""While the user types: the KV cache is brought to what the next prompt is sure to begin with.

R1's history drops earlier reasoning, so that after every answer the cache holds tokens that the
next prompt lacks. What follows them is evaluated again in the background, in small steps, and given
up at once when the next question comes: that goes on from there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext

STEP = 64  # tokens at a time: so many are lost at the most


class Repair:
    """Evaluates ``ids`` in a thread until :meth:`stop`, or until it is done. Nothing else may use
    the context meanwhile.
    """

    def __init__(self, context: LlamaContext, ids: Sequence[int]) -> None:
        self._context, self._ids = context, list(ids)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if self._ids:
            self._thread.start()

    def stop(self) -> None:
        """Returns once the thread has let go of the context, within a node of the graph."""
        self._stop.set()
        if self._thread.ident is None:
            return
        while self._thread.is_alive():
            self._context.abort.set()
            self._thread.join(0.01)
        self._context.abort.clear()

    def _run(self) -> None:
        from dslocal.errors import EngineError

        context, ids = self._context, self._ids
        try:
            if context.ids[: len(ids)] == ids:
                return  # and what lies behind is for the next prompt to remove
            shared = next(
                (
                    i
                    for i, (have, want) in enumerate(zip(context.ids, ids, strict=False))
                    if have != want
                ),
                len(context.ids),
            )
            for end in range(shared + STEP, len(ids) + STEP, STEP):
                if self._stop.is_set():
                    return
                context.prefill(ids[:end])
        except (
            KeyboardInterrupt,
            EngineError,
        ):  # stopped, or a failure that the next prompt will meet and name
            return
