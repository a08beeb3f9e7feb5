"""``dslocal help [TOPIC]``: explain a topic, or list them."""

from __future__ import annotations

from typing import Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.errors import UsageError


def help_(
    topic: Annotated[
        str | None,
        typer.Argument(
            help="One of those that dslocal help lists.",
            show_default=False,
            autocompletion=completion_values.topics,
        ),
    ] = None,
) -> None:
    """Explain a topic, or list them. A command's options: dslocal COMMAND --help."""
    from dslocal.cli.help_topics import topic_names, topic_text, topic_title
    from dslocal.terminal import pager

    known = topic_names()
    if topic is None:
        below = "dslocal help TOPIC explains one; dslocal COMMAND --help has the options"
        pager.show_list([(name, topic_title(name)) for name in known], below)
        return
    name = topic.lower().replace("_", "-")
    if name not in known:
        raise _unknown_topic(topic, name, known)
    pager.show_page(topic_text(name))


def _unknown_topic(topic: str, name: str, known: list[str]) -> UsageError:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 3, 0.5)
    hint = f"near it: {', '.join(near)}" if near else f"there are: {', '.join(known)}"
    return UsageError(f"no topic is called {topic!r:.60}", hint=hint)
