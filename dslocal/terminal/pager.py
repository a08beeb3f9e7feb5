"""Show a page of Markdown.

It is printed as it is where stdout is not a terminal, rendered on one, and paged where it is longer
than the screen.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable

from dslocal.errors import Terminated
from dslocal.files import stdin_is_terminal

from .sanitise import sanitise

MAX_WIDTH = 100  # cells: longer lines are hard to read
LESS_OPTIONS = "-FRX"  # leave at once where all fits, pass colours on, leave the page on the screen


def show_list(rows: Iterable[tuple[str, str]], below: str) -> None:
    """Print names with their titles on stdout, and a line for people on stderr."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, title in rows:
        print(sanitise(f"{name:<{width}}  {title}"))
    print(sanitise(below), file=sys.stderr)


def show_page(markdown: str) -> None:
    """Print Markdown; a terminal gets it rendered, by ``$PAGER`` or less where it is long."""
    text = sanitise(markdown)
    if not sys.stdout.isatty():
        print(text, end="" if text.endswith("\n") else "\n")
        return
    size = shutil.get_terminal_size()
    shown = text
    if os.environ.get("TERM") != "dumb":
        shown = _render(text, min(size.columns, MAX_WIDTH))
    if shown.count("\n") < size.lines or not page(shown):
        sys.stdout.write(shown)


def _render(markdown: str, width: int) -> str:
    """Return Markdown as text with the colours that this terminal has."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    terminal = Console()
    rendered = io.StringIO()
    console = Console(
        file=rendered,
        width=width,
        force_terminal=True,
        color_system="standard" if terminal.color_system else None,
        no_color=terminal.no_color,
        highlight=False,
        # Rich's own style has black behind it, which few terminals have.
        theme=Theme({"markdown.code": "cyan"}),
    )
    console.print(Markdown(markdown, hyperlinks=False, code_theme="ansi_dark"))
    return rendered.getvalue()


def page(text: str) -> bool:
    """Give ``text`` to a pager; return whether one took it."""
    try:
        command = _pager_command()
        if not command or not stdin_is_terminal():
            return False
        sys.stdout.flush()
        with subprocess.Popen(  # noqa: S603 - the user's own pager
            command, stdin=subprocess.PIPE, text=True, encoding="utf-8"
        ) as pager:
            try:
                pager.communicate(text)
            except Terminated:
                pager.terminate()
                raise
            except KeyboardInterrupt:  # it is the pager's
                pager.wait()
            except BrokenPipeError:
                pass
    except (OSError, ValueError):
        return False
    return True


def _pager_command() -> list[str]:
    """Return the pager with its options; nothing where ``PAGER`` is set to nothing, or to cat.

    Raises:
        ValueError: ``PAGER`` has a quote that is open.
    """
    command = shlex.split(os.environ.get("PAGER", f"less {LESS_OPTIONS}"))
    if not command or command == ["cat"]:
        return []
    is_less = os.path.basename(command[0]) == "less"  # noqa: PTH119
    if is_less and not os.environ.get("LESS"):
        return [command[0], *command[1:], LESS_OPTIONS]
    return command
