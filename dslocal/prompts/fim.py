"""Find the gap that a model fills in: what stands before it and after it.

:meth:`dslocal.prompts.families.Family.render_fim` writes it as the family does.
"""

from __future__ import annotations

from dataclasses import dataclass

from dslocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Gap:
    """The text before a gap and the text after it."""

    prefix: str
    suffix: str


def gap_at(text: str, line: int, name: str) -> Gap:
    """Return the gap at a line of ``text``.

    A blank line is replaced, its indentation included, for the model to write its own; before any
    other line, a new one is opened.

    Args:
        text: The text of a file.
        line: The line, counted from 1; one after the last line is the end of the text.
        name: The file's name, for messages.

    Raises:
        UsageError: If the text has fewer lines.
    """
    lines = text.splitlines(keepends=True)
    if not 1 <= line <= len(lines) + 1:
        there = "there is 1 line" if len(lines) == 1 else f"there are {len(lines):,} lines"
        raise UsageError(f"{name}:{line}: {there}", hint=f"{name}:1 to {name}:{len(lines) + 1}")
    before = "".join(lines[: line - 1])
    if before and not before.endswith("\n"):
        before += "\n"
    after = lines[line - 1 :]
    if not after:
        return Gap(before, "")
    if not after[0].strip():
        line_end = after[0][len(after[0].rstrip("\r\n")) :]
        return Gap(before, line_end + "".join(after[1:]))
    return Gap(before, "\n" + "".join(after))
