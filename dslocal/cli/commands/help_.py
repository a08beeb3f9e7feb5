"""``dslocal help [TOPIC]``: short texts that ship as Markdown files in dslocal/topics, one a
topic.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dslocal.cli import completion_values
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
    from dslocal.terminal import pager

    if topic is None:
        below = "dslocal help TOPIC explains one; dslocal COMMAND --help has the options"
        pager.show_list([(name, title_of(name)) for name in topics()], below)
        return
    known = topics()
    name = topic.lower().replace("_", "-")
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 3, 0.5) or known
        raise UsageError(
            f"no topic is called {topic!r:.60}",
            hint=f"{'near it' if near is not known else 'there are'}: {', '.join(near)}",
        )
    pager.show_page(text_of(name))


def topics() -> list[str]:
    """All names, in order."""
    from dslocal.home.paths import bundled

    return sorted(file.stem for file in bundled("topics").glob("*.md"))


def text_of(name: str) -> str:
    """The Markdown of a topic."""
    from dslocal.home.paths import bundled

    return (bundled("topics") / f"{name}.md").read_text(encoding="utf-8")


def title_of(name: str) -> str:
    """The first heading of a topic."""
    return text_of(name).partition("\n")[0].lstrip("# ")
