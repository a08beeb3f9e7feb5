"""The file of what was typed into chats, each entry marked with the conversation it was typed in.

It is a history of prompt-toolkit's: a line of ``#`` and a mark, then the entry's lines, each after
a ``+``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dslocal.files import is_file, write_atomic

from .paths import state_dir

FILE_NAME = "history"
_BEGINNINGS = re.compile(rb"^(?=#)", re.MULTILINE)  # of entries


def history_file() -> Path:
    """Return where the input history is, if there is one."""
    return state_dir() / FILE_NAME


def history_entry(text: str, conversation: str) -> bytes:
    """Return an entry as it is appended to the file.

    Args:
        text: What was typed, in one line or several.
        conversation: The id of the conversation that it was typed in.
    """
    lines = "".join(f"+{line}\n" for line in text.split("\n"))
    return f"\n# {conversation}\n{lines}".encode("utf-8", "replace")


def forget_typed(conversation: str) -> None:
    """Remove what was typed in a conversation: questions, and commands such as /file.

    A line that another chat adds in the same instant may be lost.

    Args:
        conversation: Its id.

    Raises:
        OSError: The file cannot be read or written; it is as it was.
    """
    file = history_file()
    if not is_file(file):
        return
    data = file.read_bytes()
    mark = f"# {conversation}\n".encode()
    kept = b"".join(e for e in _BEGINNINGS.split(data) if not e.startswith(mark))
    if kept == data:
        return
    beside = file.with_name(f"{FILE_NAME}.{os.getpid()}")
    write_atomic(file, kept, beside=beside, is_private=True)
