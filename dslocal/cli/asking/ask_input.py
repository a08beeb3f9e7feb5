"""Read the input of a command: its argument, standard input and files."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dslocal import prompts
from dslocal.errors import NotFoundError, UsageError
from dslocal.files import names_stdin
from dslocal.terminal.sanitise import one_line

STDIN_PATIENCE_S = 2.0  # after which a terminal's user sees that dslocal waits for stdin
MAX_NAMES = 10_000  # of a folder that are looked at


@dataclass(frozen=True)
class AskInput:
    """What is asked.

    Attributes:
        question: The question.
        beside: A text that goes before it.
        system: Instructions.
    """

    question: str
    beside: str
    system: str


def read_question(typed: str, piped: str, system: str, *, has_files: bool) -> AskInput:
    """Return the question that was ``typed``. What is ``piped`` in alone is the question.

    Raises:
        UsageError: There is neither.
    """
    if not typed and not piped:
        what = "a file is not a question" if has_files else "nothing to ask"
        raise UsageError(what, hint='dslocal ask "What is 47 × 86?", or send a text to stdin')
    return AskInput(typed or piped, piped if typed else "", system)


def read_stdin(*, has_question: bool = False) -> prompts.FileText | None:
    """Return what is piped in; None on a terminal, or without any stdin.

    Args:
        has_question: Whether there is a question without it: then a user may not know that stdin is
            waited for.

    Raises:
        UsageError: It is larger than any context.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    if has_question and sys.stderr.isatty():
        _explain_waiting()
    data = sys.stdin.buffer.read(prompts.MAX_FILE + 1)
    if len(data) > prompts.MAX_FILE:
        raise UsageError(
            f"stdin: more than {prompts.MAX_FILE:,} bytes",
            hint="no model's context holds that much: send only the part that matters",
        )
    return prompts.decode_file(data, "stdin")


def _explain_waiting() -> None:
    """Say what is waited for: a pipe that nobody writes to looks as if dslocal hung."""
    with suppress(OSError, ValueError):
        if not select.select([sys.stdin], [], [], STDIN_PATIENCE_S)[0]:
            print(
                "dslocal: waiting for stdin, which is sent with the question (add </dev/null to "
                "send none)",
                file=sys.stderr,
                flush=True,
            )


def require_files(files: Iterable[Path]) -> None:
    """Refuse files that do not exist, and standard input for more than one of them.

    What else may be wrong with a file shows when it is read, which a pipe allows only once.

    Raises:
        NotFoundError: One does not exist; the hint names others.
        UsageError: Two of them are standard input.
    """
    files = list(files)
    if sum(map(names_stdin, files)) > 1:
        raise UsageError("stdin can be read only once", hint="write it to a file first")
    for file in files:
        if not names_stdin(file) and not os.path.lexists(file):
            raise NotFoundError(f"{one_line(str(file))}: no such file", hint=_near(file))


def _near(file: Path) -> str:
    """Return a hint: the files of the folder that may be meant, or where it was looked for."""
    if file.parts[:1] in (("http:",), ("https:",)):
        return "dslocal ask fetches no web page: save it first, or use curl ADDRESS | dslocal ask …"
    from difflib import get_close_matches

    try:
        entries = zip(range(MAX_NAMES), file.parent.iterdir(), strict=False)
        names = [other.name for _, other in entries]
    except OSError:
        return f"the folder {file.parent} cannot be read either"
    near = get_close_matches(file.name, names, 3)
    return f"did you mean {' or '.join(near)}?" if near else f"looked in {file.parent.absolute()}"


def plain_text(text: str) -> str:
    """Return ``text`` as UTF-8 allows it, empty when it is blank.

    Where the locale knows only ASCII, an argument in UTF-8 comes as surrogates.
    """
    try:
        plain = text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        plain = text.encode("utf-8", "replace").decode("utf-8")
    return plain if plain.strip() else ""
