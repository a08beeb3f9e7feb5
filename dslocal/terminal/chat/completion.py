"""What may come next in the input: commands with their help, and whatever each command takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from dslocal.terminal.sanitise import one_line, sanitise

MOST = 200
Suggestions = Iterable[tuple[str, str]]  # what could come, and a few words on it


class CommandCompleter(Completer):
    """``commands`` are names with their help, ``arguments`` gives words by command for what is
    typed of its argument, None for a path.
    """

    def __init__(
        self, commands: dict[str, str], arguments: Callable[[str, str], Suggestions | None]
    ) -> None:
        self._commands, self._arguments = commands, arguments

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or text.startswith("//") or "\n" in text:
            return
        name, space, rest = text[1:].partition(" ")
        if not space:
            for command, explained in self._commands.items():
                if command.startswith(name):
                    yield Completion(f"/{command}", -len(text), display_meta=explained)
            return
        words = self._arguments(name, rest)
        if words is None:
            yield from _paths(rest)
            return
        typed = rest.rpartition(" ")[2]
        for count, (word, explained) in enumerate(words):
            if count >= MOST:
                return
            if word.lower().startswith(typed.lower()) and sanitise(word) == word:
                yield Completion(
                    word,
                    -len(typed),
                    display=one_line(word, 60),
                    display_meta=one_line(explained, 60),
                )


def _paths(rest: str) -> Iterator[Completion]:
    """Files and folders for the last word of ``rest``, quoted where they need it."""
    word = _last_word(rest)
    if word is None:
        return
    typed, start = word
    folder, _, begun = typed.rpartition("/")
    try:
        where = Path(f"{folder}/" if "/" in typed else ".").expanduser()
        found = sorted(entry for entry in where.iterdir() if entry.name.startswith(begun))
    except (OSError, RuntimeError, ValueError):
        return
    shown = [entry for entry in found if begun.startswith(".") or not entry.name.startswith(".")]
    for entry in shown[:MOST]:
        if sanitise(entry.name) != entry.name or "\n" in entry.name:
            continue  # what cannot be shown as it is
        ending = "/" if entry.is_dir() else ""
        whole = (f"{folder}/" if "/" in typed else "") + entry.name
        home = whole.startswith("~/")
        quoted = "~/" + shlex.quote(whole[2:]) if home else shlex.quote(whole)
        yield Completion(quoted + ending, start, display=entry.name + ending)


def _last_word(rest: str) -> tuple[str, int] | None:
    """The word that ``rest`` ends with, unquoted, and where it begins, counted from the end; None
    in the midst of a quote that closed.
    """
    for start in range(len(rest) + 1):  # the longest end that is one word
        if start and rest[start - 1] != " ":
            continue
        part = rest[start:]
        for closing in ("", "'", '"'):
            try:
                words = shlex.split(part + closing)
            except ValueError:
                continue
            if len(words) == 1 or not part:
                return (words[0] if words else ""), -len(part)
    return None
