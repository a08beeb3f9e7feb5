"""The decode loop: prefill, then sample and evaluate until something ends it; with drafts, several
tokens at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from dslocal.engine.sampling.sampler import Sampler
from dslocal.engine.speculation.speculation import Speculation
from dslocal.errors import EngineError
from dslocal.types import FinishReason, Timings

from .context import LlamaContext
from .interrupt import abort_on_ctrl_c


class Generation:
    """One answer in the making: iterate over it for token ids; afterwards ``finish_reason``,
    ``cached`` and ``timings`` hold, and how many tokens were ``drafted`` and ``accepted``."""

    def __init__(
        self,
        context: LlamaContext,
        prompt: Sequence[int],
        sampler: Sampler,
        *,
        max_tokens: int,
        stop: Collection[int] = (),
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> None:
        """``stop`` are ids that end the answer besides the model's own; they are not yielded."""
        self._context, self._prompt, self._sampler = context, list(prompt), sampler
        self._max_tokens, self._stop, self._on_prefill = max_tokens, frozenset(stop), on_prefill
        self._speculation = context.observer if isinstance(context.observer, Speculation) else None
        self.finish_reason = FinishReason.INTERRUPTED
        self.cached = self.drafted = self.accepted = 0
        self.ids: list[int] = []
        self.timings = Timings()

    def __iter__(self) -> Iterator[int]:
        """Raises KeyboardInterrupt on Ctrl-C, within one node of the graph.

        However it ends, the context holds the prompt and what was yielded, the last token of it
        perhaps not yet.
        """
        context, began = self._context, time.perf_counter()
        with abort_on_ctrl_c(context.abort):
            if self._speculation:
                self._speculation.begin()
            self.cached = context.prefill(self._prompt, self._on_prefill)
            decoding = time.perf_counter()
            self.timings.prefill = decoding - began
            try:
                yield from self._decode(began)
            finally:
                self._drop_drafts()
                self.timings.decode = time.perf_counter() - decoding

    def _decode(self, began: float) -> Iterator[int]:
        context, spent = self._context, 0.0
        drafts: list[int] = []
        place, index = (
            0,
            -1,
        )  # drafts that were right, and the logits that the next token is drawn from
        while True:
            resumed = time.perf_counter()
            token = self._sampler.sample(context.logits(index))
            if not self.ids:
                self.timings.ttft = time.perf_counter() - began
            spent += time.perf_counter() - resumed
            if token in self._stop or context.model.is_end_token(token):
                self.finish_reason = FinishReason.STOP
                return
            self.ids.append(token)
            right = place < len(drafts) and drafts[place] == token
            self.accepted += right
            yield token
            if (
                len(self.ids) >= self._max_tokens
                or len(self._prompt) + len(self.ids) > context.n_ctx
            ):
                self.finish_reason = FinishReason.LENGTH
                return
            if right:  # its logits are there already
                place += 1
                index = place
                continue
            if self._speculation and len(self.ids) > 1:
                self._speculation.accepted(place, spent)
            resumed = time.perf_counter()
            self._drop_drafts(unevaluated=1)
            drafts = self._evaluate(token)
            place, index = 0, 0 if drafts else -1
            spent = time.perf_counter() - resumed

    def _evaluate(self, token: int) -> list[int]:
        """Evaluates ``token``, and drafts with it, which are returned."""
        context, speculation = self._context, self._speculation
        most = min(self._max_tokens - len(self.ids), context.n_ctx - len(context.ids)) - 1
        drafts = speculation.propose(token, most) if speculation else []
        if speculation and drafts:
            try:
                context.evaluate((token, *drafts), all_logits=True)
            except EngineError as e:
                speculation.failed(e)
            else:
                self.drafted += len(drafts)
                return drafts
        context.evaluate((token,))
        return []

    def _drop_drafts(self, unevaluated: int = 0) -> None:
        """Leaves the prompt and the answer in the context, but for its last tokens that are
        ``unevaluated``.
        """
        length = len(self._prompt) + len(self.ids) - unevaluated
        if len(self._context.ids) > length:
            self._context.trim(length)
