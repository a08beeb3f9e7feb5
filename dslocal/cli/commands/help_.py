"""``dslocal help [TOPIC|COMMAND]``: explain a topic or a command, or list the topics."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.errors import UsageError


def help_(
    context: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC|COMMAND",
            help="A topic that dslocal help lists, or a command.",
            show_default=False,
            autocompletion=completion_values.topics,
        ),
    ] = None,
) -> None:
    """Explain a topic or a command, or list the topics."""
    from dslocal.cli.help_topics import topic_names, topic_text, topic_title
    from dslocal.terminal import pager

    known = topic_names()
    if not topic:
        below = "dslocal help TOPIC explains a topic; dslocal help COMMAND lists its options"
        pager.show_list([(name, topic_title(name)) for name in known], below)
        return
    name = topic[0].lower().replace("_", "-")
    if name in known and len(topic) == 1:
        pager.show_page(topic_text(name))
        if name in _commands(context) and sys.stdout.isatty():
            print(f"dslocal {name} --help lists the options", file=sys.stderr)
        return
    page = _command_help(context, topic)
    if page is None:
        raise _unknown_topic(context, topic, list(dict.fromkeys((*known, *_commands(context)))))
    print(page)


def _commands(context: typer.Context) -> list[str]:
    """Return the names of all commands."""
    root: Any = context.find_root().command
    return list(root.commands)


def _command_help(context: typer.Context, words: Sequence[str]) -> str | None:
    """Return what ``dslocal COMMAND… --help`` prints; None if the command does not exist."""
    found = context.find_root()
    for word in words:
        command: Any = found.command
        inner = getattr(command, "commands", {}).get(word.lower())
        if inner is None:
            return None
        found = typer.Context(inner, info_name=inner.name, parent=found)
    return found.get_help()


def _unknown_topic(context: typer.Context, words: Sequence[str], known: list[str]) -> UsageError:
    from difflib import get_close_matches

    text = " ".join(words)
    root: Any = context.find_root().command
    near = get_close_matches(text.lower().replace("_", "-"), known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
    if words[0].lower() in root.others:
        hint = root.suggest(words)
    return UsageError(f"no topic or command is called {text!r:.60}", hint=hint)
