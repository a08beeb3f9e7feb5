"""One evaluation of one model: the settings that decide its results, and the missing answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dslocal import __version__, prompts
from dslocal.cli import session_setup
from dslocal.cli.session_setup import ModelFile
from dslocal.errors import ExitCode
from dslocal.evaluation.problems import Problem
from dslocal.evaluation.results import Results
from dslocal.evaluation.samples import Sample
from dslocal.files import sampled_fingerprint
from dslocal.plan.overrides import Overrides
from dslocal.terminal.reports.eval_progress import show_eval_progress

from .examination import Examination

FINGERPRINT_DIGITS = 16


@dataclass(frozen=True)
class Total:
    """The size of an evaluation."""

    questions: int
    samples: int

    @property
    def answers(self) -> int:
        """Return the number of answers."""
        return self.questions * self.samples


@dataclass(frozen=True)
class EvaluationRun:
    """One evaluation of one model.

    Attributes:
        name: What the model is called.
        file: The file of questions.
        problems: The questions.
        samples: How many answers are drawn for each.
        seed: Each answer's own seed comes from this one.
        model: The model's file.
        chosen: How it is loaded.
        settings: How tokens are sampled.
        thinking: How answers begin.
        math: Whether a boxed answer is asked for.
    """

    name: str
    file: Path
    problems: Sequence[Problem]
    samples: int
    seed: int
    model: ModelFile
    chosen: Overrides
    settings: prompts.Settings
    thinking: prompts.Thinking
    math: bool

    @property
    def title(self) -> str:
        """Return what is evaluated, in a few words."""
        return f"{self.name} on {self.file.name}"

    @property
    def total(self) -> Total:
        """Return how many answers there are in the end."""
        return Total(len(self.problems), self.samples)

    def has(self, sample: Sample) -> bool:
        """Return whether a kept answer is to one of the questions, which ``--limit`` may reduce."""
        return sample.problem < len(self.problems)

    def decisive_settings(self, questions: str) -> dict[str, Any]:
        """Return all that decides the results: a run is resumed only where it is the same.

        Args:
            questions: The digest of the file of questions.
        """
        decisive: dict[str, Any] = {
            "dslocal": __version__,
            "questions": questions,
            "model": self._model_identity(),
            "family": self.model.family.name,
            "thinking": self.thinking.value,
            "math": self.math,
            "temperature": self.settings.temperature.value,
            "top_p": self.settings.top_p.value,
            "max_tokens": self.settings.max_tokens.value,
            "ctx": self.chosen.n_ctx or 0,
            "seed": self.seed,
            "n": self.samples,
        }
        for name, value in self.settings.extras().items():
            decisive[name] = value if isinstance(value, int | float) else json.dumps(value)
        return decisive

    def _model_identity(self) -> str:
        """Return what tells the model from others: its weights, or who serves it by which name."""
        engine = self.model.engine
        if engine is not None:
            return f"{engine.model} at {engine.address.url}"
        return sampled_fingerprint(self.model.path)[:FINGERPRINT_DIGITS]

    def missing(self, kept: Results) -> dict[int, list[int]]:
        """Return the answers that are still to be drawn, by problem."""
        found: dict[int, list[int]] = {}
        for problem in range(len(self.problems)):
            for sample in range(self.samples):
                if (problem, sample) not in kept.samples:
                    found.setdefault(problem, []).append(sample)
        return found

    def draw_missing(self, kept: Results) -> int:
        """Draw the answers that are missing, and keep each as it comes.

        Returns:
            How many were there already.

        Raises:
            typer.Exit: Ctrl-C.
        """
        missing = self.missing(kept)
        there = self.total.answers - sum(len(samples) for samples in missing.values())
        if not missing:
            return there
        try:
            self._draw(missing, kept)
        except KeyboardInterrupt:
            done = sum(self.has(sample) for sample in kept.samples.values())
            print(
                f"dslocal: stopped at {done:,} of {self.total.answers:,} answers; repeat the "
                "command to continue",
                file=sys.stderr,
            )
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        return there

    def _draw(self, missing: dict[int, list[int]], kept: Results) -> None:
        here = [sample for sample in kept.samples.values() if self.has(sample)]
        done = len(here)
        right = sum(sample.correct for sample in here)
        with (
            session_setup.open_context(self.model, self.chosen) as context,
            show_eval_progress(self.title, done, right, self.total.answers) as report,
        ):
            drawing = Examination(
                context, self.model.family, self.settings, self.thinking, self.math, self.seed
            )
            for problem, numbers in missing.items():
                for sample in drawing.samples(problem, self.problems[problem], numbers):
                    kept.add(sample)
                    done += 1
                    right += int(sample.correct)
                    report(done, right, sample.tokens)
