"""A conversation as a Markdown file: reasoning folded away, mathematics as the model wrote it, and
never half a file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from dslocal import prompts
from dslocal.errors import DslocalError, UsageError
from dslocal.terminal.sanitise import one_line, sanitise

CUT = {"interrupted": "*(interrupted)*", "length": "*(cut: no tokens were left)*"}


def markdown(history: Sequence[prompts.Message], model: str, system: str, began: float) -> str:
    """The conversation, control characters left out. A thought cannot end its fold early."""
    lines = [
        f"# Conversation with {one_line(model, 100)}",
        "",
        time.strftime("%d %B %Y, %H:%M", time.localtime(began)),
        "",
    ]
    if system:
        lines += ["## Instructions", "", sanitise(system), ""]
    for message in history:
        if message.role == "user":
            lines += ["## Question", "", sanitise(message.content), ""]
        elif message.role == "assistant":
            lines += ["## Answer", "", *_thought(message.reasoning)]
            lines += [sanitise(message.content), ""] if message.content else []
            lines += [
                f"*(calls {one_line(call.name, 100)}: {one_line(call.arguments)})*\n"
                for call in message.calls
            ]
            lines += [CUT[message.cut], ""] if message.cut in CUT else []
        else:
            lines += [f"## {message.role.capitalize()}", "", sanitise(message.content), ""]
    return "\n".join(lines)


def write_new(path: Path, text: str, *, replace: bool) -> None:
    """Writes ``text``, all of it or nothing. Raises UsageError where there is a file already,
    unless it is to be replaced.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path}: is there already", hint=f"/save {path}! replaces it")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            beside.replace(path)
        else:
            _only_new(beside, path)
    except OSError as e:
        raise DslocalError(f"{path}: cannot be written: {e.strerror}") from e
    finally:
        beside.unlink(missing_ok=True)


def last_code(text: str) -> str | None:
    """The last fenced block of code in Markdown, without its fence; None when there is none."""
    from markdown_it import MarkdownIt

    blocks = [
        token.content
        for token in MarkdownIt("commonmark").parse(text)
        if token.type in ("fence", "code_block")
    ]
    return blocks[-1] if blocks else None


def _thought(text: str) -> list[str]:
    if not text:
        return []
    folded = re.sub(r"<(?=/?details|/?summary)", "&lt;", sanitise(text), flags=re.IGNORECASE)
    return ["<details>", "<summary>Reasoning</summary>", "", folded, "", "</details>", ""]


def _only_new(beside: Path, path: Path) -> None:
    """Gives the file its name unless something has it by now."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        beside.replace(path)
