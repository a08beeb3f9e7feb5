"""What the terminal can show, and what it is likely to do.

The environment decides that; the terminal itself is not queried.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from dslocal.files import stdin_is_terminal

# Terminals that take OSC 52 (a program sets the clipboard) by default, and those that do not.
TAKES_OSC52 = (
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
REFUSES_OSC52 = ("apple_terminal", "linux", "dumb", "vte", "konsole")
NO_TERMINAL = "none"


@dataclass(frozen=True)
class TerminalInfo:
    """What is known of the terminal.

    Attributes:
        interactive: Whether stdin and stdout are one.
        name: The program, or its kind.
        columns: Cells of a line.
        lines: Lines of the screen.
        colour: none, 16, 256 or truecolor.
        unicode: Whether it shows more than ASCII.
        clipboard: Whether it is likely to take OSC 52: yes, no or unknown.
    """

    interactive: bool
    name: str
    columns: int
    lines: int
    colour: str
    unicode: bool
    clipboard: str


def detect_terminal() -> TerminalInfo:
    """Return what is known of this process's terminal."""
    from rich.console import Console

    console = Console()
    size = shutil.get_terminal_size()
    colours = {"standard": "16", "256": "256", "truecolor": "truecolor", "windows": "16"}
    name = terminal_name()
    return TerminalInfo(
        interactive=stdin_is_terminal() and sys.stdout.isatty(),
        name=name,
        columns=size.columns,
        lines=size.lines,
        colour="none" if console.no_color else colours.get(console.color_system or "", "none"),
        unicode=_is_unicode(),
        clipboard=takes_osc52(name),
    )


def terminal_name() -> str:
    """Return the most particular name that the terminal has, in lower case."""
    if "TMUX" in os.environ:
        return "tmux"
    if os.environ.get("WT_SESSION"):
        return "windows-terminal"
    if os.environ.get("VTE_VERSION"):
        return "vte"
    if os.environ.get("KONSOLE_VERSION"):
        return "konsole"
    return (os.environ.get("TERM_PROGRAM") or os.environ.get("TERM") or NO_TERMINAL).lower()


def takes_osc52(name: str) -> str:
    """Return whether a terminal is likely to take OSC 52: yes, no or unknown."""
    if name.removeprefix("xterm-").startswith(TAKES_OSC52):
        return "yes"
    if name == NO_TERMINAL or name.startswith(REFUSES_OSC52):
        return "no"
    return "unknown"


def _is_unicode() -> bool:
    """Return what the first locale variable that is set says; without one, macOS has UTF-8."""
    values = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next((value for value in values if value), "")
    if not locale:
        return sys.platform == "darwin"
    return "utf8" in locale.lower().replace("-", "")
