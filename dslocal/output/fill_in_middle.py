"""Filling in the middle: what stands before and after a gap, and the text in between as it
comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.errors import UsageError
from dslocal.prompts.families import Family
from dslocal.prompts.settings import Settings

from .answer import Turn, stream_answer
from .reasoning import Text

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext


@dataclass(frozen=True, slots=True)
class Gap:
    """The text before and after. At a line of a file, the line itself is the gap when it is blank,
    else the gap is before it.
    """

    prefix: str
    suffix: str


def gap_at(text: str, line: int, name: str) -> Gap:
    """The gap at ``line`` of ``text``, counted from 1: one after the last line is its end. Raises
    UsageError naming ``name``.

    A blank line is replaced, its indentation included, for the model to write its own; before any
    other line, one is opened.
    """
    lines = text.splitlines(keepends=True)
    if not 1 <= line <= len(lines) + 1:
        there = "there is 1 line" if len(lines) == 1 else f"there are {len(lines):,} lines"
        raise UsageError(f"{name}:{line}: {there}", hint=f"{name}:1 to {name}:{len(lines) + 1}")
    prefix, rest = "".join(lines[: line - 1]), lines[line - 1 :]
    if prefix and not prefix.endswith("\n"):
        prefix += "\n"
    if rest and not rest[0].strip():
        return Gap(prefix, rest[0][len(rest[0].rstrip("\r\n")) :] + "".join(rest[1:]))
    return Gap(prefix, "\n" + "".join(rest) if rest else "")


def fill_gap(
    turn: Turn,
    context: LlamaContext,
    family: Family,
    settings: Settings,
    gap: Gap,
    *,
    on_prefill: Callable[[int, int], None] | None = None,
) -> Generator[str]:
    """Generates what belongs into ``gap``, white space and all. Raises UsageError,
    ContextOverflowError, KeyboardInterrupt.
    """
    for part in stream_answer(
        turn,
        context,
        family,
        settings,
        family.render_fim(gap.prefix, gap.suffix),
        on_prefill=on_prefill,
    ):
        if isinstance(part, Text):
            yield part.text
