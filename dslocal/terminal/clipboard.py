"""Text into the clipboard: by the desktop's own program where there is one, by tmux inside tmux,
else by the terminal (OSC 52).

A terminal says nothing of what became of it, so only what a program took is sure. Knows nothing of
chats.
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

MAX_OSC52_BYTES = 74_994  # bytes: as base64, what terminals are known to take in one sequence
PATIENCE_S = 5
HINT = "/save FILE.md writes it into a file"


def copy(text: str, out: TextIO, env: Mapping[str, str] = os.environ) -> str:
    """Copies ``text`` as it is, but for control characters, and says which way. Raises DslocalError
    where there is none.
    """
    text = sanitise(text)  # what is pasted into a shell must not act
    for program in _programs(env):
        if _taken(program, text):
            return f"by {program[0]}"
    if env.get("TERM", "dumb") == "dumb" or not out.isatty():
        raise DslocalError("this terminal has no clipboard", hint=HINT)
    data = text.encode()
    if len(data) > MAX_OSC52_BYTES:
        raise DslocalError(
            f"{len(data):,} bytes are more than the {MAX_OSC52_BYTES:,} that terminals take into the clipboard",
            hint=HINT,
        )
    out.write(osc52(data, tmux=bool(env.get("TMUX"))))
    out.flush()
    return "by the terminal, if it allows that (OSC 52" + (
        ", through tmux)" if env.get("TMUX") else ")"
    )


def osc52(data: bytes, *, tmux: bool) -> str:
    """The sequence that asks a terminal to keep ``data``; ``tmux`` passes it on to the terminal
    outside.
    """
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    if not tmux:
        return sequence
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"


def _programs(env: Mapping[str, str]) -> list[list[str]]:
    """Commands that reach the clipboard of whoever sits here, the best first. Over ssh a desktop's
    would be the wrong one.
    """
    commands: list[list[str]] = []
    if not env.get("SSH_CONNECTION") and not env.get("SSH_TTY"):
        if sys.platform == "darwin":
            commands.append(["pbcopy"])
        if env.get("WAYLAND_DISPLAY"):
            commands.append(["wl-copy"])
        if env.get("DISPLAY"):
            commands += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
        if env.get("WSL_DISTRO_NAME") or sys.platform == "win32":
            commands.append(["clip.exe"])
    if env.get("TMUX"):
        commands.append(
            ["tmux", "load-buffer", "-w", "-"]
        )  # into its own buffer, and into the terminal's clipboard
    return [command for command in commands if shutil.which(command[0], path=env.get("PATH"))]


def _taken(command: list[str], text: str) -> bool:
    """Whether ``command`` took it. It may stay in the background, so nothing waits for its
    output.
    """
    data = text.encode("utf-16") if command[0] == "clip.exe" else text.encode()
    try:
        done = subprocess.run(  # noqa: S603 - the command is one of ours
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
