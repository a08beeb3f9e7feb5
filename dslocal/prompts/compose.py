"""Compose the text that is sent for a question.

It holds files and search results in the vendor's templates, and the directive on mathematics where
the model card asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from .families import DIRECTIVE, Family
from .files import FileText, attach_files, read_file
from .language import is_chinese
from .search_results import with_results


@dataclass(frozen=True)
class Question:
    """A question as it is sent.

    Attributes:
        text: What is sent.
        directive: The directive that was added; empty for none.
        source: Why it was added or was not.
        notes: What a user should know about the files that were read.
    """

    text: str
    directive: str
    source: str
    notes: tuple[str, ...] = ()


def compose_question(
    family: Family,
    asked: str,
    *,
    beside: str = "",
    files: Sequence[Path | FileText] = (),
    results: Path | None = None,
    math: bool | None = None,
    today: date | None = None,
) -> Question:
    """Return the message that asks ``asked``.

    Args:
        family: The family that is asked.
        asked: The question; it alone decides whether the directive on mathematics is added.
        beside: Text that goes before it.
        files: Files that go before both.
        results: A file of search results, which go around everything.
        math: Whether the directive is added; None leaves it to the question, for families whose
            model card asks for it.
        today: The date that search results are dated with; None for today's.

    Raises:
        NotFoundError: If a file does not exist.
        UsageError: If a file cannot be used.
    """
    read = [read_file(file) if isinstance(file, Path) else file for file in files]
    notes = tuple(file.note for file in read if file.note)
    text = attach_files(read, "\n\n".join(part for part in (beside, asked) if part.strip()))
    if results is not None:
        text = with_results(results, text, today or date.today())
    is_wanted, source = _is_directed(family, asked, math)
    if not is_wanted:
        return Question(text, "", source, notes)
    directive = family.directive or DIRECTIVE
    added = directive.chinese if is_chinese(asked) else directive.english
    return Question(f"{text}\n{added}", added, source, notes)


def directive_advice(family: Family, asked: str, math: bool | None) -> str | None:
    """Return one line where ``math`` False leaves out a directive that the model card asks for."""
    from .math_detection import is_mathematical

    directive = family.directive
    if math is not False or directive is None or not directive.automatic:
        return None
    if not is_mathematical(asked):
        return None
    return (
        "--no-math: for mathematical questions, its model card recommends to add: "
        f"{directive.english}"
    )


def _is_directed(family: Family, asked: str, math: bool | None) -> tuple[bool, str]:
    """Return whether the directive is added, and why."""
    from .math_detection import is_mathematical

    if family.is_base:
        return False, "a base model gets the text without changes"
    if "\\boxed" in asked:
        return False, "the question itself asks for a box"
    if math is not None:
        return math, "--math" if math else "--no-math"
    if not (family.directive and family.directive.automatic):
        return False, "its model card recommends no directive"
    if is_mathematical(asked):
        return True, f"the question is mathematical ({family.directive.source})"
    return False, "the question is not mathematical"
