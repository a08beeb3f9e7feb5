"""What the terminal can show, and what it may be able to do, guessed from what it says of itself in
the environment. Nothing is asked.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

# terminals that take OSC 52 (a program sets the clipboard) unless told otherwise, and those that do
# not
TAKES = (
    "kitty",
    "alacritty",
    "wezterm",
    "ghostty",
    "foot",
    "contour",
    "rio",
    "vscode",
    "windows-terminal",
)
REFUSES = ("apple_terminal", "linux", "dumb", "vte", "konsole")


@dataclass(frozen=True)
class TerminalInfo:
    """``colour`` is none, 16, 256 or truecolor; ``clipboard`` whether OSC 52 is likely to be taken:
    yes, no, or unknown.
    """

    interactive: bool
    name: str
    columns: int
    lines: int
    colour: str
    unicode: bool
    clipboard: str


def detect_terminal() -> TerminalInfo:
    from rich.console import Console

    console = Console()
    size = shutil.get_terminal_size()
    colours = {"standard": "16", "256": "256", "truecolor": "truecolor", "windows": "16"}
    return TerminalInfo(
        interactive=sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty(),
        name=program(),
        columns=size.columns,
        lines=size.lines,
        colour="none" if console.no_color else colours.get(console.color_system or "", "none"),
        unicode=_is_unicode(),
        clipboard=clipboard(program()),
    )


def program() -> str:
    """The terminal's name, the most particular that there is, in lower case."""
    if "TMUX" in os.environ:
        return "tmux"
    if os.environ.get("WT_SESSION"):
        return "windows-terminal"
    if os.environ.get("VTE_VERSION"):
        return "vte"
    if os.environ.get("KONSOLE_VERSION"):
        return "konsole"
    return (os.environ.get("TERM_PROGRAM") or os.environ.get("TERM") or "none").lower()


def clipboard(name: str) -> str:
    if any(name.removeprefix("xterm-").startswith(known) for known in TAKES):
        return "yes"
    if any(name.startswith(known) for known in REFUSES) or name == "none":
        return "no"
    return "unknown"


def _is_unicode() -> bool:
    """By the locale's variables, the first that is set; some systems have UTF-8 without any."""
    said = next(
        (value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), ""
    )
    return "utf8" in said.lower().replace("-", "") or (not said and sys.platform == "darwin")
