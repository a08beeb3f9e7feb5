"""Find what a document shows as a command line of dslocal and that does not exist: commands,
options, and commands of a chat.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from dslocal.cli.main import app
from dslocal.terminal.chat.commands.command_table import COMMANDS

ROOT: Any = get_command(app)
ADDRESSES = {"/metrics", "/health"}  # of the server, not commands of a chat
FOREIGN = {"jq", "git", "head", "NO_COLOR"}  # what is not dslocal's
CODE = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def code(text: str) -> list[str]:
    """Return what stands in a document as code, line by line."""
    return [
        line
        for block, span in CODE.findall(text)
        for line in (block or span).splitlines()
        if line.strip()
    ]


def options(command: Any) -> set[str]:
    return {
        option
        for param in command.params
        for option in (*param.opts, *param.secondary_opts)
        if option.startswith("-")
    } | {
        "--help",
        "-h",
    }


def commands(command: Any = ROOT) -> Iterator[Any]:
    yield command
    for other in getattr(command, "commands", {}).values():
        yield from commands(other)


EVERY_OPTION = set().union(*(options(command) for command in commands()))


def parts_of(line: str) -> list[str]:
    """Return the commands of a shell line, without prompts and variables before them."""
    return [
        re.sub(r"^(?:\$ +)?(?:[A-Z_]+=\S+ +)*", "", part)
        for part in re.split(r"\s(?:[|>]+|&&)\s", line.strip())
    ]


def own_commands(line: str) -> list[str]:
    """Return the commands of a shell line that run dslocal."""
    return [part for part in parts_of(line) if part.startswith("dslocal ")]


def unknown_in(line: str) -> list[str]:
    """Return what of a line of code does not exist: commands after ``dslocal``, their options, or
    options that stand alone.
    """
    found: list[str] = []
    slash = re.match(r"/([a-z]+)\b", line)
    if slash and slash[1] not in COMMANDS and line not in ADDRESSES:
        found.append(line)
    for part in parts_of(line):
        words = (
            shlex.split(part, comments=True) if "'" not in part.replace('"', "") else part.split()
        )
        if not words or words[0] in FOREIGN:
            continue
        if words[0] != "dslocal":
            found += [
                word
                for word in words
                if re.fullmatch(r"--?[a-z][\w-]*", word) and word not in EVERY_OPTION
            ]
            continue
        command = ROOT
        for word in words[1:]:
            name = word.partition("=")[0]
            if word.startswith("-"):
                found += [] if name in options(command) else [f"{command.name} {name}"]
            elif word in getattr(command, "commands", {}):
                command = command.commands[word]
            elif (
                hasattr(command, "commands") and not word.isupper()
            ):  # TEXT and the like stand for what a user has
                found.append(word)
    return found
