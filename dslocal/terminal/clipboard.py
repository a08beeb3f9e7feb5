"""Copy text to the clipboard.

By the desktop's own program where there is one, by tmux inside of tmux, else by the terminal
(OSC 52). A terminal does not answer, so only what a program took is certain. Does not know chats.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import TextIO

from dslocal.errors import DslocalError

from .sanitise import sanitise

MAX_OSC52_BYTES = 74_994  # as base64, what terminals are known to take in one sequence
TIMEOUT_S = 5
HINT = "/save FILE.md writes the conversation to a file"


def copy(text: str, out: TextIO, env: Mapping[str, str] = os.environ) -> str:
    """Copy ``text`` without its control characters: what is pasted into a shell must not act.

    Args:
        text: What is copied.
        out: The terminal.
        env: The environment, which says what kind of desktop and terminal there is.

    Returns:
        By what it was copied, for a message.

    Raises:
        DslocalError: No clipboard was found, or it does not take so much.
    """
    text = sanitise(text)
    for command in _clipboard_commands(env):
        if _run(command, text):
            return f"by {command[0]}"
    if env.get("TERM", "dumb") == "dumb" or not out.isatty():
        raise DslocalError("this terminal has no clipboard", hint=HINT)
    data = text.encode()
    if len(data) > MAX_OSC52_BYTES:
        raise DslocalError(
            f"{len(data):,} bytes are more than the {MAX_OSC52_BYTES:,}"
            " that terminals take into the clipboard",
            hint=HINT,
        )
    in_tmux = bool(env.get("TMUX"))
    out.write(osc52(data, tmux=in_tmux))
    out.flush()
    way = "OSC 52, through tmux" if in_tmux else "OSC 52"
    return f"by the terminal, if it allows that ({way})"


def osc52(data: bytes, *, tmux: bool) -> str:
    """Return the sequence that puts ``data`` into a terminal's clipboard.

    Args:
        data: The text.
        tmux: Whether tmux passes the sequence on to the terminal outside.
    """
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    if not tmux:
        return sequence
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"


def _clipboard_commands(env: Mapping[str, str]) -> list[list[str]]:
    """Return the commands that reach the user's clipboard, the best first.

    Over ssh a desktop's clipboard would be that of the other machine.
    """
    commands: list[list[str]] = []
    is_remote = env.get("SSH_CONNECTION") or env.get("SSH_TTY")
    if not is_remote:
        if sys.platform == "darwin":
            commands.append(["pbcopy"])
        if env.get("WAYLAND_DISPLAY"):
            commands.append(["wl-copy"])
        if env.get("DISPLAY"):
            commands.append(["xclip", "-selection", "clipboard"])
            commands.append(["xsel", "--clipboard", "--input"])
        if env.get("WSL_DISTRO_NAME") or sys.platform == "win32":
            commands.append(["clip.exe"])
    if env.get("TMUX"):
        # Into tmux's own buffer, and into the clipboard of the terminal outside.
        commands.append(["tmux", "load-buffer", "-w", "-"])
    return [command for command in commands if shutil.which(command[0], path=env.get("PATH"))]


def _run(command: list[str], text: str) -> bool:
    """Give ``text`` to a command, and return whether it took it.

    Its output is not read: it may keep it open from the background.
    """
    data = text.encode("utf-16") if command[0] == "clip.exe" else text.encode()
    try:
        done = subprocess.run(  # noqa: S603 - the command is one of ours
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
