"""``dslocal sessions``: list, search and delete earlier conversations."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.options import AsJson, WithoutAsking
from dslocal.cli.parsing import OneValueCommand, SessionsGroup, refuse_options
from dslocal.errors import ExitCode
from dslocal.files import stdin_is_terminal

if TYPE_CHECKING:
    from dslocal.chat import StoredConversation

MAX_SHOWN = 80  # characters of a question

sessions = typer.Typer(
    name="sessions",
    cls=SessionsGroup,
    help="List the chats on this machine, and search them.",
    rich_markup_mode=None,
)


@sessions.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    search: Annotated[
        str,
        typer.Option(
            "--search",
            metavar="TEXT",
            help="List only chats that contain TEXT, in upper or lower case, with the line that "
            "has it.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the chats on this machine, newest first; dslocal chat --resume ID opens one."""
    if context.invoked_subcommand is not None:
        refuse_options(context, search=search, json=as_json)
        return
    from dslocal import chat

    found = []
    for saved in chat.list_conversations():
        line = chat.matching_line(saved, search) if saved.questions else None
        if line is not None:
            found.append((saved, line))
    if as_json:
        print(json.dumps([_fields(saved, line) for saved, line in found]))
        return
    from dslocal.terminal.reports import session_list

    session_list.print_sessions(found, search)


@sessions.command(cls=OneValueCommand)
def rm(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="IDs as dslocal sessions lists them, or the last characters of an ID.",
        ),
    ],
    yes: WithoutAsking = False,
) -> None:
    """Delete chats, and the files that continue them. On a terminal it asks first."""
    from dslocal import chat

    found = [chat.find_conversation(one) for one in ids]
    if stdin_is_terminal() and not yes:
        _ask(found)
    for saved in found:
        saved.remove()
        print(f"{saved.id} deleted")


def _ask(found: Sequence[StoredConversation]) -> None:
    """Ask whether to delete what was named.

    Raises:
        typer.Exit: The answer is not yes.
    """
    from dslocal.terminal.confirmation import is_confirmed
    from dslocal.terminal.sanitise import one_line

    for saved in found:
        first = one_line(saved.questions[0], MAX_SHOWN) if saved.questions else ""
        print(f"{saved.id}  {first}")
    chats = "this chat" if len(found) == 1 else f"these {len(found)} chats"
    if not is_confirmed(f"Delete {chats}?"):
        print("dslocal: nothing was deleted", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILURE)


def _fields(saved: StoredConversation, line: str) -> dict[str, Any]:
    """Return a conversation as JSON; with ``line``, if it is not empty, as the match."""
    fields = {
        "id": saved.id,
        "model": saved.model,
        "began": saved.began,
        "last": saved.last,
        "turns": len(saved.questions),
        "question": saved.questions[0],
    }
    if line:
        fields["match"] = line
    return fields
