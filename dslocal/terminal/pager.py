"""A page of Markdown to read: as it is where nobody looks, rendered on a terminal, by a pager where
it is longer than the screen.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable

from .sanitise import sanitise

WIDEST = 100  # columns: longer lines are hard to read
LESS = ("less", "-FRX")


def show_list(rows: Iterable[tuple[str, str]], below: str) -> None:
    """Names and what they are, one a line, and a line for people below."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, title in rows:
        print(sanitise(f"{name:<{width}}  {title}"))
    print(sanitise(below), file=sys.stderr)


def show_page(markdown: str) -> None:
    """Prints ``markdown``. On a terminal it is rendered, and paged by ``$PAGER`` or less when it
    does not fit.
    """
    text = sanitise(markdown)
    if not sys.stdout.isatty():
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    size = shutil.get_terminal_size()
    drawn = io.StringIO()
    plain = Console()  # what this terminal can show
    console = Console(
        file=drawn,
        width=min(size.columns, WIDEST),
        force_terminal=True,
        color_system="standard" if plain.color_system else None,
        no_color=plain.no_color,
        highlight=False,
        theme=Theme(
            {"markdown.code": "cyan"}
        ),  # without the black behind it, which few terminals have
    )
    console.print(Markdown(text, hyperlinks=False, code_theme="ansi_dark"))
    shown = drawn.getvalue() if os.environ.get("TERM") != "dumb" else text
    if shown.count("\n") < size.lines or not _paged(shown):
        sys.stdout.write(shown)


def _paged(text: str) -> bool:
    """Whether a pager took ``text``. ``PAGER`` set to nothing, or to cat, means none."""
    command = shlex.split(os.environ["PAGER"]) if "PAGER" in os.environ else [*LESS]
    if not command or command == ["cat"] or not sys.stdin.isatty():
        return False
    if os.path.basename(command[0]) == "less" and not os.environ.get("LESS"):  # noqa: PTH119
        command = [command[0], *command[1:], "-FRX"]
    try:
        sys.stdout.flush()
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, encoding="utf-8") as pager:  # noqa: S603
            try:
                pager.communicate(text)
            except KeyboardInterrupt:  # the pager's own business
                pager.wait()
            except BrokenPipeError:
                pass
    except (OSError, ValueError):
        return False
    return True
