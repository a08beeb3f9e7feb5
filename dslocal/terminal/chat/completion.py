"""Completion of the input: commands with their help, and the arguments of each command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from dslocal.terminal.sanitise import one_line, sanitise

MAX_SUGGESTIONS = 200
MAX_SHOWN = 60  # characters of a suggestion, and of its remark
Suggestions = Iterable[tuple[str, str]]  # words, each with a remark


class CommandCompleter(Completer):
    """Completes slash commands and their arguments.

    Args:
        commands: The commands' names, with their help.
        suggest: Returns what may follow a command, given its name and what is typed of its
            argument; None for paths.
    """

    def __init__(
        self, commands: dict[str, str], suggest: Callable[[str, str], Suggestions | None]
    ) -> None:
        self._commands = commands
        self._suggest = suggest

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield what the line may become: prompt-toolkit calls this."""
        text = document.text_before_cursor
        if not text.startswith("/") or text.startswith("//") or "\n" in text:
            return
        name = text[1:].partition(" ")[0]
        rest = text[1 + len(name) + 1 :]
        if " " not in text:
            yield from self._complete_name(name)
            return
        suggestions = self._suggest(name, rest)
        if suggestions is None:
            yield from _complete_path(rest)
        else:
            yield from _complete_word(rest, suggestions)

    def _complete_name(self, typed: str) -> Iterator[Completion]:
        for name, help_text in self._commands.items():
            if name.startswith(typed):
                yield Completion(f"/{name}", -len(f"/{typed}"), display_meta=help_text)


def _complete_word(rest: str, suggestions: Suggestions) -> Iterator[Completion]:
    typed = rest.rpartition(" ")[2]
    for count, (word, remark) in enumerate(suggestions):
        if count >= MAX_SUGGESTIONS:
            return
        if word.lower().startswith(typed.lower()) and sanitise(word) == word:
            yield Completion(
                word,
                -len(typed),
                display=one_line(word, MAX_SHOWN),
                display_meta=one_line(remark, MAX_SHOWN),
            )


def _complete_path(rest: str) -> Iterator[Completion]:
    """Yield files and folders for the last word of ``rest``, quoted where they need it."""
    word = _last_word(rest)
    if word is None:
        return
    name_start = word.text.rpartition("/")[2]
    prefix = word.text.removesuffix(name_start)
    try:
        entries = sorted(Path(prefix or ".").expanduser().iterdir())
    except (OSError, RuntimeError, ValueError):
        return
    found = [entry for entry in entries if entry.name.startswith(name_start)]
    if not name_start.startswith("."):
        found = [entry for entry in found if not entry.name.startswith(".")]
    for entry in found[:MAX_SUGGESTIONS]:
        if sanitise(entry.name) != entry.name or "\n" in entry.name:
            continue  # it cannot be shown as it is
        ending = "/" if entry.is_dir() else ""
        quoted = _quote_path(prefix + entry.name)
        yield Completion(quoted + ending, word.start, display=entry.name + ending)


def _quote_path(path: str) -> str:
    """Return a path as a shell takes it; ``~/`` keeps its meaning."""
    home = "~/" if path.startswith("~/") else ""
    return home + shlex.quote(path.removeprefix(home))


class _Word(NamedTuple):
    """A word that is being typed: unquoted, and where it begins, counted back from the cursor."""

    text: str
    start: int


def _last_word(rest: str) -> _Word | None:
    """Return the word that ``rest`` ends with; None where it ends behind a quote that closed.

    It is the longest end of ``rest`` that is one word for a shell, once an open quote is closed.
    """
    for start in range(len(rest) + 1):
        if start and rest[start - 1] != " ":
            continue
        part = rest[start:]
        for closing_quote in ("", "'", '"'):
            try:
                words = shlex.split(part + closing_quote)
            except ValueError:
                continue
            if len(words) == 1 or not part:
                return _Word(words[0] if words else "", -len(part))
    return None
