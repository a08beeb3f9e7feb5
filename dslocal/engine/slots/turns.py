"""Decide whether the next step is for prompts or for running answers, where both wait.

The first token of an answer comes when its prompt has been evaluated, so prompts go first. Their
pieces are short, so that a shorter prompt can come between two of them. Running answers wait
meanwhile, but at most for a part of a second. A piece of a prompt and the tokens of answers take as
long in one step as in two, because llama.cpp does not evaluate them together.
"""

from __future__ import annotations

from enum import Enum, auto

from . import step_times
from .step_times import StepTimes


class StepKind(Enum):
    """What a step is for."""

    PROMPTS = auto()
    ANSWERS = auto()
    BOTH = auto()


class Turns:
    """Decides whose turn it is, from how long the answers have waited."""

    def __init__(self) -> None:
        self._answered_s = 0.0  # when the last step with tokens of answers ended
        self._had_prompts = False  # a step without answers has been since then

    def next(self, times: StepTimes, now_s: float) -> StepKind:
        """Return whose turn it is.

        Args:
            times: How long steps take.
            now_s: The time, on the clock of :meth:`record`.
        """
        waited_s = now_s - self._answered_s
        if waited_s + times.piece_s + times.decode_s < step_times.MAX_STALL_S:
            return StepKind.PROMPTS
        return StepKind.ANSWERS if self._had_prompts else StepKind.BOTH

    def record(self, has_answers: bool, now_s: float) -> None:
        """Take note that a step has ended, and whether it was for answers."""
        self._had_prompts = not has_answers
        if has_answers:
            self._answered_s = now_s
