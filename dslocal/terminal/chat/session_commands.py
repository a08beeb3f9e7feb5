"""Slash commands about conversations on disk: listed, searched, gone on with, written into a
file.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from dslocal import chat
from dslocal.errors import UsageError
from dslocal.terminal.sanitise import one_line

from .export import markdown, write_new

if TYPE_CHECKING:
    from .loop import ChatLoop

LISTED, NARROW = 20, 72


def save(loop: ChatLoop, text: str) -> None:
    replace = text.endswith("!")
    path = one_path(text.removesuffix("!"), "/save")
    if not loop.session.history:
        raise UsageError("/save: nothing has been said yet")
    said = markdown(loop.session.history, loop.name, loop.session.system, loop.conversation.began)
    write_new(path, said, replace=replace)
    loop.notify(
        f"{path}: {len(loop.conversation.questions)} question{'' if len(loop.conversation.questions) == 1 else 's'} written"
    )


def sessions(loop: ChatLoop, text: str) -> None:
    found = chat.list_conversations()
    shown = 0
    for saved in found:
        line = matching_line(saved, text)
        if line is None or not saved.questions:
            continue
        if shown == LISTED:
            loop.notify("… dslocal sessions lists all")
            break
        shown += 1
        mark = "*" if saved.id == loop.conversation.id else " "
        loop.notify(f"{mark} {conversation_row(saved, loop.console.width - 2)}")
        if text and line:
            loop.notify(f"      {one_line(line, max(20, loop.console.width - 8))}")
    if not shown:
        loop.notify(
            f"no conversation has {text!r:.60} in it" if text else "no conversation is kept yet"
        )


def resume(loop: ChatLoop, text: str) -> None:
    if not text:
        raise UsageError("/resume: which conversation?", hint="/sessions lists them")
    saved = chat.find_conversation(text)
    if saved.id == loop.conversation.id and loop.conversation.history:
        raise UsageError(f"{saved.id} is this conversation")
    loop.resume_conversation(saved)
    loop.describe_conversation()
    if saved.model != loop.model:
        loop.notify(f"it was with {one_line(saved.model, 60)}; /model switches")


def conversation_row(saved: chat.StoredConversation, width: int) -> str:
    """A conversation on one line of ``width`` cells at the most; where that is little, without what
    the id says as well.
    """
    when, n = time.strftime("%Y-%m-%d %H:%M", time.localtime(saved.last)), len(saved.questions)
    about = f"  {when}  {one_line(saved.model, 24):<12} {n:>3}" if width >= NARROW else ""
    line = f"{saved.id}{about}  {one_line(saved.questions[0])}"
    return (
        line if cell_len(line) <= width else set_cell_size(line, max(width - 1, 1)).rstrip() + "…"
    )


def matching_line(saved: chat.StoredConversation, text: str) -> str | None:
    """The first line of the conversation that has ``text`` in it, in any case; None where none has.
    Without ``text`` all match.
    """
    if not text:
        return ""
    return next((line for line in _lines(saved) if text.casefold() in line.casefold()), None)


def one_path(text: str, command: str) -> Path:
    """The one path that is typed after a command. Raises UsageError."""
    try:
        paths = [Path(part).expanduser() for part in shlex.split(text)]
    except (ValueError, RuntimeError) as e:  # an open quote, the home of nobody
        raise UsageError(f"{command}: {e}") from None
    if len(paths) != 1:
        raise UsageError(
            f"{command}: which file?"
            if not paths
            else f"{command}: one file, quoted where its name has spaces"
        )
    return paths[0]


def _lines(saved: chat.StoredConversation) -> Iterator[str]:
    for message in saved.history:
        for part in (message.typed or message.content, message.reasoning):
            yield from part.splitlines()
