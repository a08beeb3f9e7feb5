"""Colours for code, line by line, as it comes. Knows no Markdown and no terminal.

Pygments wants a whole text; its lexers are automata, though, whose state can be kept from one line
to the next. What such a lexer matches over several lines with one pattern (a comment of C) is
coloured as if each line were by itself: the text is never touched.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rich.style import Style

from dslocal.terminal.wrapping import Line

LONGEST = 400  # characters; what is longer is left plain
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
    """Of one block of code in ``language``; of none that is unknown."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language.lower())
        self._state: tuple[str, ...] = ("root",)

    def line(self, text: str) -> Line:
        """``text``, a line without its end, in colours."""
        if self._lexer is None or len(text) > LONGEST:
            return [(text, None)]
        try:
            return self._coloured(text)
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
        ):  # a lexer that needs more than its table
            self._lexer = None
            return [(text, None)]

    def _coloured(self, text: str) -> Line:
        from pygments.token import _TokenType

        runs: Line = []
        stack, at, whole = list(self._state), 0, text + "\n"
        while at < len(whole):
            for match, action, change in self._lexer._tokens[stack[-1]]:
                found = match(whole, at)
                if not found:
                    continue
                if type(action) is _TokenType:
                    runs.append((found.group(), _colour(action)))
                elif action is not None:
                    runs += [
                        (value, _colour(kind)) for _, kind, value in action(self._lexer, found)
                    ]
                at = found.end()
                _change(stack, change)
                if found.end() > found.start() or change is not None:
                    break
            else:
                runs.append((whole[at], None))
                at += 1
        self._state = tuple(stack)
        shown = [(part.rstrip("\n"), style) for part, style in runs if part.rstrip("\n")]
        return shown if "".join(part for part, _ in shown) == text else [(text, None)]


def _change(stack: list[str], change: Any) -> None:
    """Moves between a lexer's states, as Pygments' own loop does."""
    for step in change if isinstance(change, tuple) else () if change is None else (change,):
        if step == "#push":
            stack.append(stack[-1])
        elif step == "#pop":
            del stack[1 if len(stack) == 1 else -1 :]
        elif isinstance(step, int):
            del stack[max(len(stack) + step, 1) :]
        else:
            stack.append(step)


@cache
def _lexer(language: str) -> Any:
    """Pygments' lexer, if it is an automaton and nothing more."""
    from pygments.lexer import ExtendedRegexLexer, RegexLexer
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None
    if not isinstance(lexer, RegexLexer) or isinstance(lexer, ExtendedRegexLexer):
        return None
    return (
        lexer if type(lexer).get_tokens_unprocessed is RegexLexer.get_tokens_unprocessed else None
    )


@cache
def _colour(kind: Any) -> Style | None:
    return next((_COLOURS[name] for name in reversed(kind) if name in _COLOURS), None)
