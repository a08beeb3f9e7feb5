"""Speculative decoding: a drafter guesses what comes next, the target evaluates all guesses in one
batch, and its own sampler decides.

Every token is drawn from the target's logits at its own position by the ordinary sampler; a draft
that equals it only means that the next logits are there already. So what is drawn is distributed
exactly as without drafts, whatever the drafter says. Whether it pays depends on the machine, the
model and the text, and is measured: see :mod:`.pace`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from dslocal.engine.context import SMALL_MODEL_BYTES, LlamaContext
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError

from .draft_length import DraftLength

DraftMode = Literal["auto", "on", "off"]


class Drafter(Protocol):
    """Guesses what follows in a context, which tells it of all that it evaluates. Errors are
    EngineErrors.
    """

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many to draft at a time is worth trying."""

    @property
    def listening(self) -> bool:
        """Whether it follows what the context evaluates."""

    def listen(self, on: bool) -> None: ...

    def propose(self, ids: Sequence[int], token: int, most: int) -> list[int]:
        """Up to ``most`` ids, 1 at the least, to follow ``token``, which comes after ``ids``; none
        without an idea.
        """

    def evaluated(self, start: int, ids: Sequence[int]) -> None: ...

    def trimmed(self, length: int) -> None: ...

    def close(self) -> None: ...


class Speculation:
    """Drafts for one context, of which it is the observer. A drafter that fails is given up, and
    what is left is plain decoding.
    """

    def __init__(self, context: LlamaContext, drafter: Drafter, pace: DraftLength) -> None:
        self.context, self.pace = context, pace
        self.error: EngineError | None = None
        self.drafter: Drafter | None = drafter
        self._wanted = self._proposed = 0
        self._warming = False
        context.observer = self

    def begin(self) -> None:
        """Before a prompt is evaluated: it is followed when drafts are to be expected."""
        self._listen(self.pace.active)

    def propose(self, token: int, most: int) -> list[int]:
        """Ids to evaluate together with ``token``, which comes next, ``most`` at the most."""
        self._wanted = self.pace.length() if self.drafter else 0
        self._warming, drafts = False, list[int]()
        if not self.pace.active:
            self._listen(False)
        elif self.drafter and not self.drafter.listening:
            self._listen(True)
            self._warming = True  # it has to hear of a token before it can say anything
        elif self.drafter and min(self._wanted, most) > 0:
            try:
                drafts = self.drafter.propose(self.context.ids, token, min(self._wanted, most))
            except EngineError as e:
                self._give_up(e)
        ends = self.context.model.is_end_token
        drafts = drafts[
            : next((i for i, draft in enumerate(drafts) if ends(draft)), len(drafts))
        ]  # nothing follows the end
        self._proposed = len(drafts)
        return drafts

    def accepted(self, count: int, seconds: float) -> None:
        """What became of the last proposal: so many were right, and all took ``seconds``, proposing
        and sampling included.
        """
        if not self._warming:
            self.pace.record(self._wanted, self._proposed, count, seconds)

    def failed(self, error: EngineError) -> None:
        """The target could not evaluate drafts: there will be none any more."""
        self._give_up(error)

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        if self.drafter:
            try:
                self.drafter.evaluated(start, ids)
            except EngineError as e:
                self._give_up(e)

    def trimmed(self, length: int) -> None:
        if self.drafter:
            self.drafter.trimmed(length)

    def close(self) -> None:
        if self.drafter:
            self.drafter.close()
        self.drafter = None

    def _listen(self, on: bool) -> None:
        if self.drafter and self.drafter.listening != on:
            try:
                self.drafter.listen(on)
            except EngineError as e:
                self._give_up(e)

    def _give_up(self, error: EngineError) -> None:
        self.error = error
        self.close()


def enable_speculation(
    context: LlamaContext, mode: DraftMode, layer: LlamaModel | None = None
) -> Speculation | None:
    """Makes ``context`` draft: with its model's MTP layer when that is loaded, else from what was
    said before. None when ``mode`` is off. ``layer`` is the MTP layer where it has a file of its
    own.

    Its loading's ``n_outputs`` says how many tokens can be verified at a time. With "auto", it is
    measured whether drafts pay; a small model is taken not to gain by them until measured
    otherwise. With "on", there are always some.
    """
    from .mtp_draft import MtpDrafter
    from .ngram_draft import NgramDrafter

    if mode == "off" or context.load_config.n_outputs < 2:
        return None
    drafter: Drafter = (
        MtpDrafter(context, layer) if context.load_config.mtp else NgramDrafter(context)
    )
    lengths = [length for length in drafter.lengths if length < context.load_config.n_outputs]
    small = context.model.header.file_size < SMALL_MODEL_BYTES
    return Speculation(
        context, drafter, DraftLength(lengths, optional=mode == "auto", expect=not small)
    )
