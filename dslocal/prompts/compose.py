"""What is sent for a question: with the makers' templates for files and search results, and their
directive where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from .families import DIRECTIVE, Family
from .files import attach_files
from .math_detection import is_chinese, is_mathematical
from .search_results import with_results


@dataclass(frozen=True)
class Question:
    """``text`` is what is sent. ``directive`` is what of it was added, ``source`` why it was or was
    not.
    """

    text: str
    directive: str
    source: str


def compose_question(
    family: Family,
    asked: str,
    *,
    beside: str = "",
    files: Sequence[Path] = (),
    results: Path | None = None,
    math: bool | None = None,
    today: date | None = None,
) -> Question:
    """The message that asks ``asked``, with the text ``beside`` it before it, ``files`` and search
    ``results`` around it.

    ``math`` decides outright whether the directive on mathematics is added; None leaves it to the
    question, for families whose makers ask for it. Only ``asked`` is looked at for that. Raises
    UsageError or NotFoundError naming the file.
    """
    text = attach_files(files, "\n\n".join(part for part in (beside, asked) if part.strip()))
    if results is not None:
        text = with_results(results, text, today or date.today())
    wanted, source = _directed(family, asked, math)
    if not wanted:
        return Question(text, "", source)
    directive = family.directive or DIRECTIVE
    added = directive.chinese if is_chinese(asked) else directive.english
    return Question(f"{text}\n{added}", added, source)


def directive_advice(family: Family, asked: str, math: bool | None) -> str | None:
    """The line that says so when ``math`` False leaves out a directive that the makers ask for."""
    if math is False and family.directive and family.directive.automatic and is_mathematical(asked):
        return f"--no-math: its makers recommend to ask a mathematical question with: {family.directive.english}"
    return None


def _directed(family: Family, asked: str, math: bool | None) -> tuple[bool, str]:
    if family.is_base:
        return False, "a base model is given the text as it is"
    if "\\boxed" in asked:
        return False, "the question asks for a box itself"
    if math is not None:
        return math, "--math" if math else "--no-math"
    if not (family.directive and family.directive.automatic):
        return False, "its makers ask for none"
    if is_mathematical(asked):
        return True, f"the question is mathematical ({family.directive.source})"
    return False, "the question is not mathematical"
