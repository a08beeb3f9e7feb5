"""Measure models against a reference, with progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.api.quality.compared import ComparedModel, EvaluatedText, Hooks
from dslocal.api.quality.measure import is_kept_reference, measure, read_compared, reference_job
from dslocal.api.quality.reference import evaluate_reference, open_kept
from dslocal.api.quality.table import MeasuredModels
from dslocal.cli import session_setup, supervisor
from dslocal.errors import UsageError
from dslocal.prompts import get_family
from dslocal.terminal.progress_line import ProgressLine
from dslocal.terminal.sanitise import one_line

if TYPE_CHECKING:
    from dslocal.evaluation.divergence.reference_file import ReferenceFile

    from .text_options import TextOptions


@dataclass(frozen=True)
class QualityRun:
    """One call of ``dslocal quality``.

    Attributes:
        models: The names of the models; None is the one used last.
        reference: The name of the reference, or a file of log-probabilities.
        evaluated: Which text is evaluated.
        out: Where the log-probabilities of the reference are kept; None for the cache.
        overwrite: Whether that file may be replaced.
        family: How the reference is prompted; None recognises that.
    """

    models: Sequence[str | None]
    reference: str
    evaluated: TextOptions
    out: Path | None
    overwrite: bool
    family: str | None

    def measure(self) -> MeasuredModels:
        """Return the figures of all models.

        Raises:
            UsageError: Options cannot be combined, or the vocabularies differ.
            DslocalError: As :func:`dslocal.quality` says.
        """
        text = self._text()
        models = [_find(name) for name in self.models]
        line = ProgressLine()

        def show(what: str, done: int, of: int) -> None:
            line.show(f"{one_line(what)}: chunk {done} of {of}", done / of)

        hooks = Hooks(session_setup.load_model, show, _notify)
        try:
            with ExitStack() as opened:
                reference = opened.enter_context(self._open_reference(text, models, hooks))
                measured = []
                for model in models:
                    supervisor.set_subject(model.path.name)
                    measured.append(measure(model, reference, hooks))
                return MeasuredModels.of(reference, measured)
        finally:
            line.clear()

    def _text(self) -> EvaluatedText:
        given = self.evaluated
        if given.tokens is not None and given.chunks is not None:
            raise UsageError("--tokens and --chunks cannot be combined")
        if is_kept_reference(self.reference) and (given.are_given or self.out):
            raise UsageError(
                f"{self.reference}: this file says which text and chunks are evaluated",
                hint="leave out --text, --tokens, --chunks, --ctx and -o",
            )
        return EvaluatedText(tuple(given.text or ()), given.ctx, given.tokens, given.chunks)

    def _open_reference(
        self, text: EvaluatedText, models: Sequence[ComparedModel], hooks: Hooks
    ) -> ReferenceFile:
        if is_kept_reference(self.reference):
            return open_kept(Path(self.reference))
        job = reference_job(models, _find(self.reference), text, self.family)
        job = replace(job, out=self.out, overwrite=self.overwrite)
        return evaluate_reference(job, hooks)


def _find(name: str | None) -> ComparedModel:
    """Return the model that ``name`` means, converted if it has to be; any family will do."""

    def read(path: Path) -> session_setup.ModelFile:
        return session_setup.ModelFile(path, read_compared(path).header, get_family("base"))

    found = session_setup.prepare_model(name, remember=False, known=read)
    return ComparedModel(found.path, found.header)


def _notify(line: str) -> None:
    print(f"dslocal: {one_line(line)}", file=sys.stderr)
