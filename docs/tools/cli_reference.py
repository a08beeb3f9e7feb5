"""Write the command-line reference from Typer's own description of the commands.

    python docs/tools/cli_reference.py > cli.md

The site generates the page when it is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer import Context
from typer.main import get_command

from dslocal.cli.main import app

TYPE = re.compile(r" <[^>]+>$")  # behind the name of an argument
INTRODUCTION = """# Command line

Generated from the commands themselves; `dslocal COMMAND --help` prints the same on a terminal.
Square brackets give the default. What several options mean is explained in the guides and concepts.
"""


def reference() -> str:
    """Return the page as Markdown."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    root: Any = get_command(app)
    context = Context(root, info_name="dslocal", help_option_names=["-h", "--help"])
    yield from _section(root, context, 2)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        inner = Context(command, info_name=name, parent=context)
        yield from _section(command, inner, 2)
        for sub in getattr(command, "commands", {}).values():
            yield from _section(sub, Context(sub, info_name=sub.name, parent=inner), 3)


def _section(command: Any, context: Any, level: int) -> Iterator[str]:
    """Yield the parts of one command: what it does, its usage, its arguments and options."""
    path = context.command_path
    yield f"{'#' * level} {path} {{#{path.replace(' ', '-')}}}\n"
    if command.help:
        yield f"{_paragraphs(command.help)}\n"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    for param in command.get_params(context):
        if record := param.get_help_record(context):
            is_option = any(name.startswith("-") for name in param.opts)
            name, text = record
            row = (TYPE.sub("", name), text)
            (options if is_option else arguments).append(row)
    for title, rows in (("Argument", arguments), ("Option", options)):
        if rows:
            yield f"| {title} | |\n|---|---|"
            yield from (f"| `{_cell(name)}` | {_escaped(text)} |" for name, text in rows)
            yield ""


def _paragraphs(text: str) -> str:
    """Return help text whose paragraphs are on one line each."""
    return "\n\n".join(_escaped(" ".join(part.split())) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    for character in "\\`*_{}[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


if __name__ == "__main__":
    print(reference())
