"""llama.cpp's grammar notation, GBNF, rewritten as the notation of llguidance, character by
character.

Every terminal that comes out is one character or one class of characters: no lexer then has to
choose between a longer and a shorter match, and the language is the one that GBNF means. Notation:
grammars/README.md of llama.cpp. Knows no vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dslocal.errors import UsageError

MAX_DEPTH = 64  # parentheses within parentheses
MAX_REPEATS = 10_000
MAX_ITEMS = 10_000  # characters, classes and names: llguidance counts its symbols in 16 bits

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TIMES = re.compile(r"\{\s*(\d{1,9})\s*(,\s*(\d{1,9})?\s*)?\}")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_NAMED = {"t": "\t", "r": "\r", "n": "\n", **{sign: sign for sign in '\\"[]-'}}


def gbnf_to_lark(text: str) -> str:
    """The grammar ``text`` for llguidance. Raises UsageError that names the line."""
    return _Parser(text).grammar()


@dataclass
class _Parser:
    text: str
    at: int = 0
    depth: int = 0
    items: int = 0
    rules: dict[str, str] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)  # where a rule is first referred to
    numbers: dict[str, int] = field(default_factory=dict)

    def grammar(self) -> str:
        self._skip(_SPACES)
        while self.at < len(self.text):
            name = self._name()
            self._skip(_SPACE)
            if not self._taken("::="):
                raise self._wrong("::= expected")
            self._skip(_SPACES)
            self.rules[name] = self._alternatives(
                nested=False
            )  # a later rule of the same name counts, as in llama.cpp
            if self.at < len(self.text) and self.text[self.at] not in "\r\n":
                raise self._wrong("the end of the line expected")
            self._skip(_SPACES)
        for name, where in self.named.items():
            if name not in self.rules:
                self.at = where
                raise self._wrong(f"no rule {name!r}")
        if "root" not in self.rules:
            raise UsageError("it has no rule 'root'", hint="that is where a GBNF grammar begins")
        lines = [f"{self._rule(name)}: {body}" for name, body in self.rules.items()]
        return "\n".join([f"start: {self._rule('root')}", *lines, ""])

    def _alternatives(self, *, nested: bool) -> str:
        found = [self._sequence(nested=nested)]
        while self._taken("|"):
            self._skip(_SPACES)
            found.append(self._sequence(nested=nested))
        return " | ".join(found)

    def _sequence(self, *, nested: bool) -> str:
        space, found = _SPACES if nested else _SPACE, []
        while (item := self._item()) is not None:
            self._skip(space)
            while times := self._repeated():  # a** and the like are allowed
                item = f"({item}){times}"
                self._skip(space)
            found.append(item)
        return " ".join(found) or '""'

    def _item(self) -> str | None:
        """A literal, class, group or name in Lark's notation; None where no item begins."""
        self._count(1)
        sign = self.text[self.at : self.at + 1]
        if sign == '"':
            return self._literal()
        if sign == "[":
            return self._class()
        if sign == "(":
            return self._group()
        if sign == ".":
            self.at += 1
            return "/[\\x{0}-\\x{10FFFF}]/"
        if sign in ("<", "!"):
            raise self._wrong("tokens cannot be named, only text")
        if sign and _NAME.match(sign):
            start, name = self.at, self._name()
            self.named.setdefault(name, start)
            return self._rule(name)
        return None

    def _literal(self) -> str:
        self.at += 1
        signs = []
        while not self._taken('"'):
            signs.append(f"/{_spelt(self._char())}/")
        self._count(len(signs))
        return f"({' '.join(signs)})" if signs else '""'

    def _count(self, more: int) -> None:
        self.items += more
        if self.items > MAX_ITEMS:
            raise self._wrong(f"more than {MAX_ITEMS:,} characters, classes and names")

    def _class(self) -> str:
        self.at += 1
        negated, ranges = self._taken("^"), []
        while not self._taken("]"):
            first = last = self._char()
            if (
                self.text[self.at : self.at + 1] == "-"
                and self.text[self.at + 1 : self.at + 2] != "]"
            ):
                self.at += 1
                last = self._char()
            if first > last:
                raise self._wrong("a range that ends before it begins")
            ranges.append(f"{_spelt(first)}-{_spelt(last)}")
        if not ranges:
            raise self._wrong("an empty class")
        return f"/[{'^' * negated}{''.join(ranges)}]/"

    def _group(self) -> str:
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} parentheses within each other")
        self._skip(_SPACES)
        inside = self._alternatives(nested=True)
        if not self._taken(")"):
            raise self._wrong("')' expected")
        self.depth -= 1
        return f"({inside})"

    def _repeated(self) -> str:
        """How often the item before is repeated, in Lark's notation; nothing when that is once."""
        sign = self.text[self.at : self.at + 1]
        if sign and sign in "*+?":
            self.at += 1
            return sign
        if sign != "{":
            return ""
        times = _TIMES.match(self.text, self.at)
        if times is None:
            raise self._wrong("{n}, {n,} or {n,m} expected")
        least, most = int(times[1]), int(times[3] or (times[1] if times[2] is None else -1))
        if max(least, most) > MAX_REPEATS or -1 < most < least:
            raise self._wrong(f"repeated {times[0]} times")
        self.at = times.end()
        return f"{{{least},{most if most >= 0 else ''}}}"

    def _char(self) -> int:
        if self.at >= len(self.text):
            raise self._wrong("the end of the file in the midst of a literal or class")
        sign = self.text[self.at]
        if sign != "\\":
            self.at += 1
            return ord(sign)
        escape = _ESCAPE.match(self.text, self.at)
        if escape is None or (escape[4] and escape[4] not in _NAMED):
            raise self._wrong("unknown escape")
        digits = escape[1] or escape[2] or escape[3]
        code = int(digits, 16) if digits else ord(_NAMED[escape[4]])
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self._wrong(f"no character has the number {code:X}")
        self.at = escape.end()
        return code

    def _name(self) -> str:
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self._wrong("the name of a rule expected")
        self.at = found.end()
        return found[0]

    def _rule(self, name: str) -> str:
        return f"r{self.numbers.setdefault(name, len(self.numbers))}"

    def _taken(self, sign: str) -> bool:
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            return True
        return False

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _wrong(self, what: str) -> UsageError:
        line = self.text.count("\n", 0, self.at) + 1
        return UsageError(
            f"line {line}: {what} at {self.text[self.at : self.at + 20]!r}",
            hint="GBNF, as llama.cpp's grammars/README.md has it",
        )


def _spelt(code: int) -> str:
    return f"\\x{{{code:X}}}"
