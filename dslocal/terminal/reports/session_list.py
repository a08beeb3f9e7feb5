"""Conversations as a list: a line a conversation, and the line of it that a search found."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from dslocal.chat import StoredConversation
from dslocal.terminal.chat.commands.session_commands import conversation_row
from dslocal.terminal.sanitise import one_line

MAX_LINE = 400  # characters, where no terminal sets the width


def print_sessions(found: Sequence[tuple[StoredConversation, str]], search: str) -> None:
    """Print conversations.

    Args:
        found: Conversations, each with the line that a search found, or nothing.
        search: What was searched for, or nothing.
    """
    console = Console(highlight=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() else MAX_LINE
    for stored, line in found:
        console.print(Text(conversation_row(stored, width)))
        if line:
            console.print(Text("  " + one_line(line, width - 2), style="dim"))
    if not found:
        remark = "no chat is kept yet: dslocal chat starts one"
        if search:
            remark = f"no chat has {one_line(search, 60)!r} in it"
        console.print(Text(remark, style="dim"))
