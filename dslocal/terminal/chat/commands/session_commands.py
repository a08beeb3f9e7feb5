"""Slash commands that list, search, resume and export conversations on disk."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from dslocal import chat
from dslocal.errors import NotFoundError, UsageError
from dslocal.terminal.chat.export import to_markdown, write_new
from dslocal.terminal.sanitise import one_line

if TYPE_CHECKING:
    from dslocal.terminal.chat.active_chat import ActiveChat
    from dslocal.terminal.chat.completion import Suggestions

MAX_LISTED = 20  # conversations
MIN_FULL_WIDTH = 72  # cells of a row that has room for time and model
MAX_MODEL = 24  # characters of a model's name in a row


def clear(active: ActiveChat, _: str) -> None:
    """/clear: start a new conversation."""
    before = active.conversation.id if active.conversation.history else ""
    active.start_conversation()
    active.notify("history cleared" + (f"; /resume {before} brings it back" if before else ""))


def save(active: ActiveChat, text: str) -> None:
    """/save: write the conversation as Markdown; an exclamation mark replaces the file."""
    may_replace = text.endswith("!")
    path = one_path(text.removesuffix("!"), "/save")
    if not active.session.history:
        raise UsageError("/save: the conversation is empty")
    document = to_markdown(
        active.session.history, active.name, active.session.system, active.conversation.began
    )
    write_new(path, document, may_replace=may_replace)
    questions = len(active.conversation.questions)
    active.notify(f"{path}: {questions} question{'' if questions == 1 else 's'} written")


def show_sessions(active: ActiveChat, text: str) -> None:
    """/sessions: list the conversations that are kept, or those with ``text`` in them."""
    shown = 0
    for stored in chat.list_conversations():
        line = chat.matching_line(stored, text)
        if line is None or not stored.questions:
            continue
        if shown == MAX_LISTED:
            active.notify("… dslocal sessions lists all")
            break
        shown += 1
        mark = "*" if stored.id == active.conversation.id else " "
        active.notify(f"{mark} {conversation_row(stored, active.console.width - 2)}")
        if text and line:
            active.notify(f"      {one_line(line, max(20, active.console.width - 8))}")
    if not shown:
        active.notify(
            f"no conversation has {text!r:.60} in it" if text else "no conversation is kept yet"
        )


def resume(active: ActiveChat, text: str) -> None:
    """/resume: continue an earlier conversation, by default the last one before this one."""
    stored = chat.find_conversation(text) if text else _conversation_before(active)
    if stored.id == active.conversation.id and active.conversation.history:
        raise UsageError(f"{stored.id} is this conversation")
    active.resume_conversation(stored)
    active.describe_conversation()
    if stored.model != active.model:
        active.notify(f"it was with {one_line(stored.model, 60)}; /model switches")


def _conversation_before(active: ActiveChat) -> chat.StoredConversation:
    """Return the conversation that was written last, other than this one.

    Raises:
        NotFoundError: There is none.
    """
    try:
        return chat.last_conversation(other_than=active.conversation.id)
    except NotFoundError as e:
        raise NotFoundError(
            "/resume: no other conversation is kept", hint="/sessions lists the conversations"
        ) from e


def suggest_conversations(active: ActiveChat, typed: str) -> Suggestions:
    """Return the conversations that are kept, each with its day and its first question."""
    if " " in typed:
        return []
    return [
        (stored.id, f"{_day(stored)} {stored.questions[0]}")
        for stored in chat.list_conversations()
        if stored.questions
    ]


def conversation_row(stored: chat.StoredConversation, width: int) -> str:
    """Return a conversation on one line of at most ``width`` cells.

    Where that is little, time and model are left out: the id shows the time as well.
    """
    about = ""
    if width >= MIN_FULL_WIDTH:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(stored.last))
        model = one_line(stored.model, MAX_MODEL)
        about = f"  {when}  {model:<12} {len(stored.questions):>3}"
    line = f"{stored.id}{about}  {one_line(stored.questions[0])}"
    if cell_len(line) <= width:
        return line
    return set_cell_size(line, max(width - 1, 1)).rstrip() + "…"


def typed_paths(text: str, command: str) -> list[Path]:
    """Return the paths that are typed after a command, quoted as in a shell.

    Raises:
        UsageError: A quote is open, or ``~user`` has no home.
    """
    try:
        return [Path(part).expanduser() for part in shlex.split(text)]
    except (ValueError, RuntimeError) as e:
        raise UsageError(f"{command}: {e}") from None


def one_path(text: str, command: str) -> Path:
    """Return the one path that is typed after a command. Raises UsageError."""
    paths = typed_paths(text, command)
    if not paths:
        raise UsageError(f"{command}: which file?")
    if len(paths) > 1:
        raise UsageError(f"{command}: give one file; quote its name if it has spaces")
    return paths[0]


def _day(stored: chat.StoredConversation) -> str:
    return time.strftime("%d %b", time.localtime(stored.last))
