"""Translate llama.cpp's grammar notation, GBNF, to the notation of llguidance (Lark's).

Each terminal that comes out is one character or one class of characters. So no lexer has to choose
between a longer and a shorter match, and the language is the one that GBNF means. Notation:
grammars/README.md of llama.cpp; parser: src/llama-grammar.cpp. Knows no vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dslocal.errors import UsageError

MAX_DEPTH = 64  # parentheses within parentheses
MAX_REPEATS = 10_000
MAX_ITEMS = 10_000  # characters, classes and names: llguidance counts its symbols in 16 bits
QUOTED_CHARACTERS = 20  # of the grammar in an error

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_REPEATS = re.compile(r"\{\s*(?P<least>\d{1,9})\s*(?P<comma>,\s*(?P<most>\d{1,9})?\s*)?\}")
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|(?P<sign>.))",
    re.DOTALL,
)
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}
_ANY_CHARACTER = "/[\\x{0}-\\x{10FFFF}]/"
_NOTHING = '""'
MAX_CODE_POINT = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)


def gbnf_to_lark(text: str) -> str:
    """Return the grammar ``text`` in llguidance's notation.

    Raises:
        UsageError: if it is not a grammar or too large; names the line.
    """
    return _Parser(text).grammar()


@dataclass
class _Parser:
    """A recursive descent parser. Its methods read from ``at`` on, and return Lark's notation."""

    text: str
    at: int = 0
    depth: int = 0  # of parentheses
    items: int = 0
    rules: dict[str, str] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)  # where a rule is first named
    numbers: dict[str, int] = field(default_factory=dict)  # of rules, which are their new names

    def grammar(self) -> str:
        """Return the whole grammar."""
        self._skip(_SPACE_AND_LINES)
        while self.at < len(self.text):
            self._read_rule()
        for name, where in self.references.items():
            if name not in self.rules:
                self.at = where
                raise self._error(f"no rule {name!r}")
        if "root" not in self.rules:
            raise UsageError("it has no rule 'root'", hint="a GBNF grammar begins with it")
        lines = [f"{self._rule_name(name)}: {body}" for name, body in self.rules.items()]
        return "\n".join([f"start: {self._rule_name('root')}", *lines, ""])

    def _read_rule(self) -> None:
        name = self._name()
        self._skip(_SPACE)
        if not self._skip_text("::="):
            raise self._error("::= expected")
        self._skip(_SPACE_AND_LINES)
        # a later rule of the same name counts, as in llama.cpp
        self.rules[name] = self._alternatives(nested=False)
        if self.at < len(self.text) and self.text[self.at] not in "\r\n":
            raise self._error("the end of the line expected")
        self._skip(_SPACE_AND_LINES)

    def _alternatives(self, *, nested: bool) -> str:
        """Read sequences with ``|`` between them. In parentheses they may go over several lines."""
        found = [self._sequence(nested=nested)]
        while self._skip_text("|"):
            self._skip(_SPACE_AND_LINES)
            found.append(self._sequence(nested=nested))
        return " | ".join(found)

    def _sequence(self, *, nested: bool) -> str:
        space = _SPACE_AND_LINES if nested else _SPACE
        found = []
        while (item := self._item()) is not None:
            self._skip(space)
            while repeats := self._repeats():  # a** and the like are allowed
                item = f"({item}){repeats}"
                self._skip(space)
            found.append(item)
        return " ".join(found) or _NOTHING

    def _item(self) -> str | None:
        """Read a literal, class, group or name; return None where no item begins."""
        self._count(1)
        sign = self._peek()
        if sign == '"':
            return self._literal()
        if sign == "[":
            return self._class()
        if sign == "(":
            return self._group()
        if sign == ".":
            self.at += 1
            return _ANY_CHARACTER
        if sign in ("<", "!"):
            raise self._error("tokens cannot be named, only text")
        if sign and _NAME.match(sign):
            start = self.at
            name = self._name()
            self.references.setdefault(name, start)
            return self._rule_name(name)
        return None

    def _literal(self) -> str:
        self.at += 1
        characters = []
        while not self._skip_text('"'):
            characters.append(f"/{_escaped(self._character())}/")
        self._count(len(characters))
        return f"({' '.join(characters)})" if characters else _NOTHING

    def _count(self, items: int) -> None:
        self.items += items
        if self.items > MAX_ITEMS:
            raise self._error(f"more than {MAX_ITEMS:,} characters, classes and names")

    def _class(self) -> str:
        self.at += 1
        negation = "^" if self._skip_text("^") else ""
        ranges = []
        while not self._skip_text("]"):
            first = last = self._character()
            if self._peek() == "-" and self._peek(1) != "]":
                self.at += 1
                last = self._character()
            if first > last:
                raise self._error("a range that ends before it begins")
            ranges.append(f"{_escaped(first)}-{_escaped(last)}")
        if not ranges:
            raise self._error("an empty class")
        return f"/[{negation}{''.join(ranges)}]/"

    def _group(self) -> str:
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} parentheses within each other")
        self._skip(_SPACE_AND_LINES)
        inside = self._alternatives(nested=True)
        if not self._skip_text(")"):
            raise self._error("')' expected")
        self.depth -= 1
        return f"({inside})"

    def _repeats(self) -> str:
        """Read how often the item before is repeated; return nothing if that is once."""
        sign = self._peek()
        if sign in ("*", "+", "?"):
            self.at += 1
            return sign
        if sign != "{":
            return ""
        found = _REPEATS.match(self.text, self.at)
        if found is None:
            raise self._error("{n}, {n,} or {n,m} expected")
        least = int(found["least"])
        most = int(found["most"]) if found["most"] else None
        if found["comma"] is None:
            most = least
        is_reversed = most is not None and most < least
        if is_reversed or max(least, most or 0) > MAX_REPEATS:
            raise self._error(f"repeated {found[0]} times")
        self.at = found.end()
        return f"{{{least},{'' if most is None else most}}}"

    def _character(self) -> int:
        """Read a character of a literal or class, escaped or not; return its code point."""
        sign = self._peek()
        if not sign:
            raise self._error("the file ends in the middle of a literal or class")
        if sign != "\\":
            self.at += 1
            return ord(sign)
        escape = _ESCAPE.match(self.text, self.at)
        if escape is None or (escape["sign"] and escape["sign"] not in _ESCAPED):
            raise self._error("unknown escape")
        digits = escape["x"] or escape["u"] or escape["U"]
        code = int(digits, 16) if digits else ord(_ESCAPED[escape["sign"]])
        if code > MAX_CODE_POINT or code in SURROGATES:
            raise self._error(f"no character has the code {code:X}")
        self.at = escape.end()
        return code

    def _name(self) -> str:
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self._error("the name of a rule expected")
        self.at = found.end()
        return found[0]

    def _rule_name(self, name: str) -> str:
        """Return what a rule is called in Lark's notation, which allows fewer characters."""
        return f"r{self.numbers.setdefault(name, len(self.numbers))}"

    def _peek(self, ahead: int = 0) -> str:
        """Return the next character, or one further on; nothing at the end."""
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _skip_text(self, text: str) -> bool:
        """Skip ``text`` if it comes next, and return whether it did."""
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _error(self, what: str) -> UsageError:
        line = self.text.count("\n", 0, self.at) + 1
        quoted = self.text[self.at : self.at + QUOTED_CHARACTERS]
        return UsageError(
            f"line {line}: {what} at {quoted!r}",
            hint="GBNF, as llama.cpp's grammars/README.md has it",
        )


def _escaped(code: int) -> str:
    return f"\\x{{{code:X}}}"
