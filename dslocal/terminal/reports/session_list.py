"""Conversations as a list: a line for each, and the line that a search found."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from dslocal.chat import StoredConversation
from dslocal.terminal.chat.session_commands import conversation_row
from dslocal.terminal.sanitise import one_line

UNLIMITED = 400  # characters, where it is not a terminal that sets the width


def print_sessions(found: Sequence[tuple[StoredConversation, str]], search: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() else UNLIMITED
    for saved, line in found:
        console.print(Text(conversation_row(saved, width)))
        if line:
            console.print(Text("  " + one_line(line, width - 2), style="dim"))
    if not found:
        said = (
            f"no chat has {one_line(search, 60)!r} in it"
            if search
            else "no chat is kept yet: dslocal chat begins one"
        )
        console.print(Text(said, style="dim"))
