"""Draw the samples of an evaluation: ask each problem several times, and grade the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.chat.repeated_question import RepeatedQuestion
from dslocal.errors import ContextOverflowError
from dslocal.evaluation.problems import Problem
from dslocal.evaluation.samples import Sample, grade, sample_seed, without_room
from dslocal.prompts import Family, Settings, Thinking, compose_question

if TYPE_CHECKING:
    from dslocal.engine import EngineContext


@dataclass(frozen=True)
class Examination:
    """Problems that are asked in one context.

    Attributes:
        context: The model's context.
        family: The model's family.
        settings: How tokens are sampled.
        thinking: How answers begin.
        math: Whether the directive on mathematics is added.
        seed: The seed of the evaluation.
    """

    context: EngineContext
    family: Family
    settings: Settings
    thinking: Thinking
    math: bool
    seed: int

    def samples(self, place: int, problem: Problem, numbers: Iterable[int]) -> Iterator[Sample]:
        """Yield samples of one problem as they come.

        Args:
            place: The problem's place.
            problem: The problem.
            numbers: The places of the samples.

        Raises:
            KeyboardInterrupt: On Ctrl-C.
        """
        text = compose_question(self.family, problem.question, math=self.math).text
        question = RepeatedQuestion(self.context, self.family, self.settings, self.thinking, text)
        question.prepare()
        for number in numbers:
            seed = sample_seed(self.seed, place, number)
            try:
                turn = question.ask(seed)
            except ContextOverflowError:
                yield without_room(place, number, seed)
            else:
                yield grade(place, number, turn, problem.answer)
