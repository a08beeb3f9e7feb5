"""What ``dslocal ask`` is asked: the argument, stdin, a template, or what they make together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dslocal import prompts
from dslocal.cli.commands import templates
from dslocal.errors import NotFoundError, UsageError
from dslocal.terminal.sanitise import one_line

from .answer_output import stdin_text

MOST_NAMES = 10_000  # of a folder


@dataclass(frozen=True)
class AskInput:
    """``question`` is what is asked, ``beside`` the text before it, ``system`` the instructions."""

    question: str
    beside: str
    system: str


def read(
    prompt: str | None,
    system: str,
    template: prompts.Template | None,
    params: Sequence[str],
    files: Sequence[Path],
) -> AskInput:
    """Reads stdin, and puts the rest together with it. What is piped in alone is the question.
    Raises UsageError.
    """
    typed, piped = (
        _plain(prompt or ""),
        _plain(stdin_text(asked=bool(prompt or template)) or "").strip("\n"),
    )
    if template:
        question, beside, instructions = templates.filled(template, params, typed, piped)
        return AskInput(question, beside, _plain(system) or instructions)
    if not typed and not piped:
        what = "a file is no question" if files else "nothing to ask"
        raise UsageError(what, hint='dslocal ask "What is 47 × 86?", or something on stdin')
    return AskInput(typed or piped, piped if typed else "", _plain(system))


def require(files: Iterable[Path | None]) -> None:
    """Raises NotFoundError for a file that is not there. What else may be wrong with it shows when
    it is read, which a pipe allows once.
    """
    for file in files:
        if file is not None and not os.path.lexists(file):
            raise NotFoundError(f"{one_line(str(file))}: no such file", hint=_near(file))


def _near(file: Path) -> str:
    """What the folder has that ``file`` may have been meant as, or where it was looked for."""
    from difflib import get_close_matches

    try:
        names = [
            other.name for _, other in zip(range(MOST_NAMES), file.parent.iterdir(), strict=False)
        ]
    except OSError:
        return f"the folder {file.parent} cannot be read either"
    near = get_close_matches(file.name, names, 3)
    return f"there is {', '.join(near)}" if near else f"looked for in {file.parent.absolute()}"


def _plain(text: str) -> str:
    """``text`` as UTF-8 can have it, empty when it is blank: an argument in UTF-8 comes in pieces
    where the locale knows only ASCII.
    """
    try:
        plain = text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        plain = text.encode("utf-8", "replace").decode("utf-8")
    return plain if plain.strip() else ""
