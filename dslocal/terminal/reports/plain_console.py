"""The console that reports are printed on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

PIPE_WIDTH = 100_000  # columns where no terminal breaks a line
MIN_TEXT_WIDTH = 20  # cells of a row's text, however narrow the terminal is


def plain_console() -> Console:
    """Return a console for stdout that prints text as it is: no markup, emoji or highlights.

    In a pipe or a file no line is broken, unless COLUMNS says how wide it is.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        console.width = PIPE_WIDTH
    return console


def print_unpadded(console: Console, renderable: RenderableType) -> None:
    """Print a table without the spaces that Rich puts at the end of its lines."""
    with console.capture() as captured:
        console.print(renderable)
    for line in captured.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


def print_titled(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print texts, each with a title before it; a text that is broken continues below itself.

    Args:
        console: Where they are printed.
        rows: Titles, empty for a line that belongs to the title above, and texts.
    """
    rows = list(rows)
    indent = max(len(title) for title, _ in rows) + 2
    width = max(console.width - indent, MIN_TEXT_WIDTH)
    for title, text in rows:
        head = title.ljust(indent)
        for line in Text(text).wrap(console, width, overflow="fold") or [Text()]:
            line.rstrip()
            console.print(Text.assemble((head, "dim"), line), soft_wrap=True)
            head = " " * indent
