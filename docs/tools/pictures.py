"""Make the pictures of the terminal: real runs of dslocal, drawn as SVG.

    python docs/tools/pictures.py [NAME …]

Needs the docs extra. Each picture is the screen of a pseudo-terminal after a real program wrote to
it; nothing is typed in by hand. Times and speeds in it are those of the machine that made it.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.terminal.screen import COLUMNS, READY, ROWS, Screen  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
BINARY = Path(sysconfig.get_path("scripts")) / "dslocal"
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
NAMES = {"brown": "yellow", "default": None}  # pyte's names of colours, where Rich has others


def chat(environment: dict[str, str]) -> Iterator[str]:
    """Yield what a terminal gets during a short conversation."""
    with Screen([str(BINARY)], environment) as screen:
        screen.wait_for(READY)
        for question in ("What is 47 × 86?", "What is the capital of Japan?"):
            screen.press(f"{question}\r")
            screen.wait_for(READY)
            screen.wait_for_idleness()
        yield screen.raw
        screen.press("/exit\r")
        screen.leave()


def fit(environment: dict[str, str]) -> Iterator[str]:
    """Yield what ``dslocal fit`` prints for a described machine."""
    command = 'dslocal fit --ram 64GiB --gpu "RTX 4090" --os linux'
    yield from shell(command, environment)


def ask(environment: dict[str, str]) -> Iterator[str]:
    """Yield what a script sees."""
    yield from shell('dslocal ask --final "What is 12 * (3 + 4)?" --seed 1', environment)


def shell(command: str, environment: dict[str, str]) -> Iterator[str]:
    """Yield a prompt with a command, and what the command prints."""
    with Screen(["/bin/sh", "-c", command], environment) as screen:
        screen.leave()
        yield f"$ {command}\r\n{screen.raw}"


RUNS: dict[str, Callable[[dict[str, str]], Iterator[str]]] = {"chat": chat, "fit": fit, "ask": ask}


def as_text(raw: str) -> Text:
    """Return the screen that a terminal shows after ``raw``, without empty lines at its end."""
    terminal = pyte.Screen(COLUMNS, 4 * ROWS)
    pyte.Stream(terminal).feed(raw)
    lines = [line(terminal.buffer[row]) for row in range(terminal.lines)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return Text("\n").join(lines)


def line(cells: Any) -> Text:
    """Return one line of a terminal."""
    text = Text()
    for column in range(COLUMNS):
        cell = cells[column]
        text.append(cell.data, style(cell))
    text.rstrip()
    return text


def style(cell: Any) -> Style:
    """Return the style of a cell."""
    return Style(
        color=colour(cell.fg),
        bgcolor=colour(cell.bg),
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def colour(name: str) -> str | None:
    """Return Rich's name of a colour of pyte's."""
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    if name in NAMES:
        return NAMES[name]
    return name.replace("bright", "bright_")


def svg(text: Text, title: str) -> str:
    """Return a picture of a terminal window with ``text``. It loads no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(text)
    drawn = console.export_svg(title=title, theme=MONOKAI, unique_id=title.replace(" ", "-"))
    return FONT.sub("", drawn).replace("Fira Code,", "ui-monospace, Menlo, Consolas,")


def main() -> None:
    """Make the pictures that are named, or all."""
    PICTURES.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp())
    try:
        environment = {
            **os.environ,
            "DSLOCAL_HOME": str(home),
            "PATH": f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "COLUMNS": str(COLUMNS),
            "PAGER": "cat",
        }
        for name in sys.argv[1:] or RUNS:
            for raw in RUNS[name](environment):
                picture = svg(as_text(raw), "dslocal" if name == "chat" else f"dslocal {name}")
                (PICTURES / f"{name}.svg").write_text(f"{picture}\n", encoding="utf-8")
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
