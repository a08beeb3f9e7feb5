"""Colour code line by line while it streams.

Pygments wants a whole text. Its lexers are automata, though, whose state can be kept from one line
to the next. What such a lexer matches over several lines with one pattern (a comment of C) is
coloured as if each line were by itself; the text is never changed.

Knows no Markdown and no terminal.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from rich.style import Style

from dslocal.terminal.wrapping import Line

MAX_LINE = 400  # characters; a longer line stays plain
_COLOURS = {
    "Comment": Style(dim=True, italic=True),
    "Keyword": Style(color="magenta"),
    "String": Style(color="green"),
    "Number": Style(color="cyan"),
    "Function": Style(color="blue", bold=True),
    "Class": Style(color="blue", bold=True),
    "Builtin": Style(color="cyan"),
    "Decorator": Style(color="yellow"),
    "Tag": Style(color="blue"),
    "Deleted": Style(color="red"),
    "Inserted": Style(color="green"),
}


class CodeColourer:
    """Colours one block of code.

    Args:
        language: A name that Pygments knows; code in any other language stays plain.
    """

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language.lower())
        self._state: tuple[str, ...] = ("root",)

    def line(self, text: str) -> Line:
        """Return the next line, given without its end, as runs in colours."""
        if self._lexer is None or len(text) > MAX_LINE:
            return [(text, None)]
        try:
            return self._colour_line(text)
        except (KeyError, IndexError, TypeError, ValueError):
            self._lexer = None  # it needs more than its table of rules
            return [(text, None)]

    def _colour_line(self, text: str) -> Line:
        runs: Line = []
        stack = list(self._state)
        whole = text + "\n"
        position = 0
        while position < len(whole):
            more, position = self._next_runs(whole, position, stack)
            runs += more
        self._state = tuple(stack)
        shown = [(part.rstrip("\n"), style) for part, style in runs if part.rstrip("\n")]
        is_unchanged = "".join(part for part, _ in shown) == text
        return shown if is_unchanged else [(text, None)]

    def _next_runs(self, text: str, position: int, stack: list[str]) -> tuple[Line, int]:
        """Apply the rules of the state on top of ``stack``, as ``RegexLexer`` does.

        Args:
            text: The line with its end.
            position: Where the rules are applied.
            stack: The lexer's states, which are changed.

        Returns:
            The runs that matched, and where they end.
        """
        runs: Line = []
        for match, action, change in self._lexer._tokens[stack[-1]]:
            found = match(text, position)
            if found is None:
                continue
            runs += self._matched_runs(action, found)
            _change_state(stack, change)
            if found.end() > position or change is not None:
                return runs, found.end()
        return [*runs, (text[position], None)], position + 1

    def _matched_runs(self, action: Any, found: re.Match[str]) -> Line:
        from pygments.token import _TokenType

        if action is None:
            return []
        if type(action) is _TokenType:
            return [(found.group(), _colour(action))]
        return [(text, _colour(kind)) for _, kind, text in action(self._lexer, found)]


def _change_state(stack: list[str], change: Any) -> None:
    """Move between a lexer's states, as the loop of Pygments' ``RegexLexer`` does."""
    if change is None:
        return
    for step in change if isinstance(change, tuple) else (change,):
        if step == "#push":
            stack.append(stack[-1])
        elif step == "#pop":
            if len(stack) > 1:
                stack.pop()
        elif isinstance(step, int):
            del stack[max(len(stack) + step, 1) :]
        else:
            stack.append(step)


@cache
def _lexer(language: str) -> Any:
    """Return Pygments' lexer, or None unless it is an automaton and nothing more."""
    from pygments.lexer import ExtendedRegexLexer, RegexLexer
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None
    if not isinstance(lexer, RegexLexer) or isinstance(lexer, ExtendedRegexLexer):
        return None
    has_own_loop = type(lexer).get_tokens_unprocessed is not RegexLexer.get_tokens_unprocessed
    return None if has_own_loop else lexer


@cache
def _colour(kind: Any) -> Style | None:
    """Return the colour of a token's kind, or of the nearest kind above it that has one."""
    return next((_COLOURS[name] for name in reversed(kind) if name in _COLOURS), None)
