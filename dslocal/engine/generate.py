"""The decode loop: prefill, then sample and evaluate until something ends the answer.

With drafts, several tokens are evaluated at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from dslocal.errors import EngineError
from dslocal.types import FinishReason, Timings, TokenLogprobs

from .evaluating_context import EvaluatingContext
from .interface import AnswerSteering
from .interrupt import abort_on_signal
from .sampling.sampler import Sampler
from .speculation.speculation import Speculation


class Generation:
    """One answer while it is made: iterate over it for token ids.

    Attributes:
        ids: The tokens so far.
        finish_reason: Why it ended; ``INTERRUPTED`` until then.
        cached: How many tokens of the prompt the context held already.
        drafted: How many tokens were drafted and evaluated.
        accepted: How many of those were right.
        timings: Seconds of prefill and decoding, complete at the end.
    """

    def __init__(
        self,
        context: EvaluatingContext,
        prompt: Sequence[int],
        sampler: Sampler,
        *,
        max_tokens: int,
        stop: Collection[int] = (),
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare an answer to ``prompt``; iteration starts it.

        Args:
            context: Evaluates the tokens. If it drafts, the answer is made with drafts.
            prompt: Token ids.
            sampler: Draws the tokens.
            max_tokens: Ends the answer.
            stop: Ids that end the answer besides the model's own; they are not yielded.
            on_prefill: Receives the tokens of the prompt that are evaluated, and that are to be.
        """
        self._context = context
        self._prompt = list(prompt)
        self._sampler = sampler
        self._max_tokens = max_tokens
        self._stop = frozenset(stop)
        self._on_prefill = on_prefill
        observer = context.observer
        self._speculation = observer if isinstance(observer, Speculation) else None
        self._steering: AnswerSteering | None = None
        self.finish_reason = FinishReason.INTERRUPTED
        self.cached = self.drafted = self.accepted = 0
        self.ids: list[int] = []
        self.timings = Timings()

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        """Return the sampler's logprobs, one entry a token, if it was asked for them."""
        return self._sampler.logprobs

    @property
    def steering(self) -> AnswerSteering | None:
        """What decides which tokens may come next; may be set between two tokens."""
        return self._steering

    @steering.setter
    def steering(self, steering: AnswerSteering | None) -> None:
        self._steering = steering
        self._sampler.constraint = steering

    def __iter__(self) -> Iterator[int]:
        """Yield the answer's token ids.

        However it ends, the context then holds the prompt and what was yielded, perhaps without the
        last token.

        Raises:
            KeyboardInterrupt: on Ctrl-C, within one node of llama.cpp's graph.
            EngineError: if llama.cpp fails.
        """
        context, began = self._context, time.perf_counter()
        with abort_on_signal(context.abort):
            if self._speculation:
                self._speculation.begin()
            self.cached = context.prefill(self._prompt, self._on_prefill)
            decoding_began = time.perf_counter()
            self.timings.prefill = decoding_began - began
            streamer = context.streamer
            used = streamer.use if streamer else None
            try:
                yield from self._decode(began)
            finally:
                self._drop_drafts()
                self.timings.decode = time.perf_counter() - decoding_began
                if streamer and used:
                    self.timings.streaming = streamer.use - used

    def _decode(self, began: float) -> Iterator[int]:
        """Yield tokens until the answer ends. ``began`` is when the prefill started."""
        context = self._context
        clock = self._speculation.clock if self._speculation else time.perf_counter
        cycle_seconds = 0.0  # evaluating, sampling and drafting, without the caller's time
        drafts: list[int] = []
        n_right = 0  # of this cycle's drafts
        logits_index = -1  # where the next token is drawn from
        while True:
            resumed = clock()
            token = self._sampler.sample(context.logits(logits_index))
            if not self.ids:
                self.timings.ttft = time.perf_counter() - began
            cycle_seconds += clock() - resumed
            if token in self._stop or context.model.is_end_token(token):
                self.finish_reason = FinishReason.STOP
                return
            self.ids.append(token)
            is_right = n_right < len(drafts) and drafts[n_right] == token
            self.accepted += is_right
            yield token
            if self._is_full():
                self.finish_reason = FinishReason.LENGTH
                return
            if is_right:  # its logits are there already
                n_right += 1
                logits_index = n_right
                continue
            if self._speculation and len(self.ids) > 1:
                self._speculation.accepted(n_right, cycle_seconds)
            resumed = clock()
            self._drop_drafts(unevaluated=1)
            drafts = self._evaluate(token)
            n_right = 0
            logits_index = 0 if drafts else -1
            cycle_seconds = clock() - resumed

    def _is_full(self) -> bool:
        tokens = len(self._prompt) + len(self.ids)
        return len(self.ids) >= self._max_tokens or tokens > self._context.n_ctx

    def _evaluate(self, token: int) -> list[int]:
        """Evaluate ``token`` together with drafts, and return the drafts."""
        context, speculation = self._context, self._speculation
        self._evaluate_missing()
        room = min(self._max_tokens - len(self.ids), context.n_ctx - len(context.ids)) - 1
        drafts = speculation.propose(token, room) if speculation else []
        if speculation and drafts:
            try:
                context.evaluate((token, *drafts), logits_from=0)
            except EngineError as e:
                speculation.failed(e)
                self._evaluate_missing()
            else:
                self.drafted += len(drafts)
                return drafts
        context.evaluate((token,))
        return []

    def _evaluate_missing(self) -> None:
        """Evaluate what had to go with wrong drafts, in a cache that cannot be cut anywhere.

        The context then holds the prompt and the answer up to its last token.
        """
        length = len(self._prompt) + len(self.ids) - 1
        if len(self._context.ids) < length:
            self._context.prefill([*self._prompt, *self.ids[:-1]])

    def _drop_drafts(self, unevaluated: int = 0) -> None:
        """Remove wrong drafts from the context.

        The prompt and the answer stay, without its last tokens that are ``unevaluated``.
        """
        length = len(self._prompt) + len(self.ids) - unevaluated
        if len(self._context.ids) > length:
            self._context.trim(length)
