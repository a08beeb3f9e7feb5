"""Speculative decoding: a drafter guesses, the target evaluates all guesses in one batch.

Each token is drawn from the target's logits at its own position by the ordinary sampler. A draft
that equals it only means that the next logits are there already. So what is drawn is distributed
exactly as without drafts, whatever the drafter proposes. Whether it pays depends on the machine,
the model and the text, and is measured (:mod:`.draft_length`). Here drafts are proposed and
counted; the comparison with what was drawn is in ``dslocal.engine.generate``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from dslocal.engine.evaluating_context import SMALL_MODEL_BYTES, EvaluatingContext
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.dspark import is_dspark

from .draft_length import DraftLength

MAX_CLOCK_STEP = 1e-4  # seconds
DraftMode = Literal["auto", "on", "off"]


class Drafter(Protocol):
    """Guesses what follows in a context, and is notified of all that the context evaluates.

    All methods may raise EngineError.
    """

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens at a time are worth trying."""

    @property
    def is_listening(self) -> bool:
        """Whether it takes in what the context evaluates."""

    def set_listening(self, on: bool) -> None:
        """Take in what the context evaluates from now on, or stop doing so."""

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return the ids that probably follow.

        Args:
            ids: What the context holds.
            token: Comes next.
            max_drafts: The most ids to return, at least 1.

        Returns:
            Guesses of what follows ``token``; none without an idea.
        """

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """See :class:`.CacheObserver`."""

    def trimmed(self, length: int) -> None:
        """See :class:`.CacheObserver`."""

    def close(self) -> None:
        """Release what it holds. May be called again."""


class Speculation:
    """Drafts for one context, whose observer it is.

    A drafter that fails is dropped, and plain decoding is left.

    Attributes:
        context: The target.
        drafter: None once it failed or is closed.
        draft_length: Chooses how many tokens are drafted.
        error: Why the drafter was dropped; None if it was not.
        clock: What cycles are timed with, in seconds.
    """

    def __init__(
        self,
        context: EvaluatingContext,
        drafter: Drafter,
        draft_length: DraftLength,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Become the observer of ``context``.

        Args:
            context: The target.
            drafter: Guesses what follows.
            draft_length: Chooses how many tokens are drafted.
            clock: What cycles are timed with; None chooses.
        """
        self.clock = clock or _cycle_clock(context.load_config)
        self.context = context
        self.drafter: Drafter | None = drafter
        self.draft_length = draft_length
        self.error: EngineError | None = None
        self._wanted = 0
        self._proposed = 0
        self._is_warm_up = False  # of this cycle: the drafter just began to listen
        context.observer = self

    def begin(self) -> None:
        """Prepare for a prompt: the drafter listens to it if drafts are to be expected."""
        self._set_listening(self.draft_length.active)

    def propose(self, token: int, max_drafts: int) -> list[int]:
        """Return at most ``max_drafts`` ids to evaluate together with ``token``, which is next."""
        self._wanted = self.draft_length.length() if self.drafter else 0
        self._is_warm_up = False
        drafts: list[int] = []
        if not self.draft_length.active:
            self._set_listening(False)
        elif self.drafter and not self.drafter.is_listening:
            self._set_listening(True)
            self._is_warm_up = True  # it has to hear a token before it can draft
        else:
            drafts = self._drafts(token, min(self._wanted, max_drafts))
        self._proposed = len(drafts)
        return drafts

    def accepted(self, count: int, seconds: float) -> None:
        """Take note of what the last proposal brought.

        Args:
            count: How many drafts, from the first on, were right.
            seconds: What the cycle took, proposing and sampling included.
        """
        if not self._is_warm_up:
            self.draft_length.record(self._wanted, self._proposed, count, seconds)

    def failed(self, error: EngineError) -> None:
        """Stop drafting: the target could not evaluate drafts."""
        self._give_up(error)

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """See :class:`.CacheObserver`."""
        if self.drafter:
            try:
                self.drafter.evaluated(start, ids)
            except EngineError as e:
                self._give_up(e)

    def trimmed(self, length: int) -> None:
        """See :class:`.CacheObserver`."""
        if self.drafter:
            self.drafter.trimmed(length)

    def close(self) -> None:
        """Close the drafter; nothing is drafted any more."""
        if self.drafter:
            self.drafter.close()
        self.drafter = None

    def _drafts(self, token: int, max_drafts: int) -> list[int]:
        """Return the drafter's guesses up to one that would end the answer: nothing follows it."""
        if self.drafter is None or max_drafts <= 0:
            return []
        try:
            drafts = self.drafter.propose(self.context.ids, token, max_drafts)
        except EngineError as e:
            self._give_up(e)
            return []
        for index, draft in enumerate(drafts):
            if self.context.model.is_end_token(draft):
                return drafts[:index]
        return drafts

    def _set_listening(self, on: bool) -> None:
        if self.drafter and self.drafter.is_listening != on:
            try:
                self.drafter.set_listening(on)
            except EngineError as e:
                self._give_up(e)

    def _give_up(self, error: EngineError) -> None:
        self.error = error
        self.close()


def _cycle_clock(load_config: LoadConfig) -> Callable[[], float]:
    """Return what cycles are timed with.

    Where the CPU computes alone and nothing is read from a disk, it is the thread's own time, which
    other programs do not change: with a load of 9 on two cores a cycle took 50 ms of it, and 100 to
    400 ms on the clock. Windows counts it in steps of 15 ms.
    """
    in_memory = load_config.repack or load_config.load_mode == "none"
    is_fine = time.get_clock_info("thread_time").resolution <= MAX_CLOCK_STEP
    if load_config.n_gpu_layers == 0 and in_memory and is_fine:
        return time.thread_time
    return time.perf_counter


def enable_speculation(
    context: EvaluatingContext, mode: DraftMode, draft_model: LlamaModel | None = None
) -> Speculation | None:
    """Let ``context`` draft: with a draft model or MTP layer if it is loaded, otherwise by n-grams.

    Args:
        context: The target. The ``n_outputs`` of its load config say how many tokens can be
            verified at a time.
        mode: "auto" drafts while that is measured to pay; a small model is not expected to gain
            until measured otherwise. "on" always drafts. "off" never does.
        draft_model: The MTP layer or DSpark, if it has a file of its own.

    Returns:
        The observer that ``context`` now has; None if nothing is drafted.
    """
    n_outputs = context.load_config.n_outputs
    if mode == "off" or n_outputs < 2:
        return None
    drafter = _drafter_for(context, draft_model)
    lengths = [length for length in drafter.lengths if length < n_outputs]
    is_small = context.model.header.file_size < SMALL_MODEL_BYTES
    draft_length = DraftLength(lengths, optional=mode == "auto", expect=not is_small)
    return Speculation(context, drafter, draft_length)


def _drafter_for(context: EvaluatingContext, draft_model: LlamaModel | None) -> Drafter:
    """Return what drafts for ``context``."""
    from .dspark_draft import DsparkDrafter
    from .mtp_draft import MtpDrafter
    from .ngram_draft import NgramDrafter

    if not context.load_config.mtp:
        return NgramDrafter(context)
    if draft_model is not None and is_dspark(draft_model.header):
        return DsparkDrafter(context, draft_model)
    return MtpDrafter(context, draft_model)
