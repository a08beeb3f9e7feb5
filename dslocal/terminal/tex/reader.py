"""Reads one expression of TeX's mathematics into boxes. What commands do is handed to it; knows no
terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from .boxes import MathBox, grid, on_a_line, side_by_side
from .spacing import MathAtom, accented, character, joined, script, spaced
from .symbols import (
    ACCENTS,
    BARS,
    BIG,
    BINARIES,
    CLOSERS,
    FUNCTIONS,
    IGNORED,
    LETTERS,
    OPENERS,
    RELATIONS,
    SPACES,
    words,
)

Commands: TypeAlias = "Mapping[str, Callable[[TexReader], MathAtom]]"

DEPTH = 40  # groups in each other

_TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|\s+|.", re.DOTALL)
_ROW_SKIP = re.compile(r"\\\\\s*\[[^\]]{0,12}\]")

_DELIMITED = {
    "matrix": "",
    "smallmatrix": "",
    "pmatrix": "()",
    "bmatrix": "[]",
    "Bmatrix": "{}",
    "vmatrix": "||",
    "Vmatrix": "‖‖",
    "array": "",
}
_CASES = ("cases", "dcases", "rcases")
_WRAPPERS = words(
    """text textrm textbf textit texttt textsf textnormal mathrm mathbf mathit mathsf mathtt boldsymbol bm operatorname operatorname*
    mbox hbox emph mathfrak pmb substack ensuremath textup mathnormal vphantom*"""
)


class TexTooDeepError(Exception):
    """Groups in groups beyond :data:`DEPTH`."""


class TexReader:
    """Reads one expression. ``stacked`` says whether rows may be drawn above each other."""

    def __init__(self, source: str, commands: Commands, *, stacked: bool) -> None:
        self._commands = commands
        self._tokens = _TOKEN.findall(_ROW_SKIP.sub(r"\\\\ ", source))
        self._at = 0
        self._depth = 0
        self.stacked = stacked

    def whole(self) -> MathBox:
        rows: list[list[MathBox]] = []
        while self._at < len(self._tokens):
            rows += self._rows(lambda piece: False)
            self._at += 1  # a closing brace or \end too many
        return self._equations(rows)

    def _rows(self, ends: Callable[[str], bool]) -> list[list[MathBox]]:
        """Rows of cells up to a piece that ``ends`` them, which is left."""
        rows: list[list[MathBox]] = [[]]
        while True:
            rows[-1].append(
                self._sequence(
                    lambda piece: piece in ("&", "\\\\", "\\cr", "\\newline") or ends(piece)
                )
            )
            piece = self._peek()
            if piece == "&":
                self._at += 1
            elif piece in ("\\\\", "\\cr", "\\newline"):
                self._at += 1
                rows.append([])
            else:
                return [
                    row
                    for row in rows
                    if any(cell.rows[0].strip() or cell.height > 1 for cell in row)
                ]

    def _sequence(self, ends: Callable[[str], bool]) -> MathBox:
        """Everything up to a piece that ``ends`` it, a closing brace or the end."""
        self._depth += 1
        if self._depth > DEPTH:
            raise TexTooDeepError
        atoms: list[MathAtom] = []
        while (piece := self._peek()) and piece != "}" and not (piece == "\\end" or ends(piece)):
            if piece in "^_'":
                self._script(atoms)
            else:
                self._at += 1
                atoms.append(self._atom(piece))
        self._depth -= 1
        return joined(atoms)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _skip_spaces(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def argument(self) -> MathBox:
        """The next group, or the next thing."""
        self._skip_spaces()
        piece = self._peek()
        if not piece or piece in "}&":
            return MathBox.of("")
        self._at += 1
        if piece == "{":
            box = self._sequence(lambda piece: False)
            self._at += self._peek() == "}"
            return box
        self._depth += 1
        if self._depth > DEPTH:
            raise TexTooDeepError
        box = self._atom(piece).box
        self._depth -= 1
        return box

    def line(self) -> str:
        """The next argument on one line."""
        stacked, self.stacked = self.stacked, False
        text = self.argument().rows[0].strip()
        self.stacked = stacked
        return text

    def verbatim(self) -> str:
        """The next group's characters as they are, names of symbols and mathematics in it
        translated.
        """
        self._skip_spaces()
        if self._peek() != "{":
            return self.line()
        self._at += 1
        parts: list[str] = []
        while (piece := self._peek()) and piece != "}":
            self._at += 1
            if piece == "{":
                self._at -= 1
                parts.append(self.verbatim())
            elif piece == "$":
                parts.append(on_a_line(self._sequence(lambda piece: piece == "$")))
                self._at += self._peek() == "$"
            else:
                parts.append(self._atom(piece).box.rows[0] if piece[0] == "\\" else piece)
        self._at += 1
        return " ".join("".join(parts).split("\n"))

    def optional(self) -> str:
        """What is in the square brackets that may come next."""
        self._skip_spaces()
        if self._peek() != "[":
            return ""
        self._at += 1
        box = self._sequence(lambda piece: piece == "]")
        self._at += 1
        return on_a_line(box)

    def _script(self, atoms: list[MathAtom]) -> None:
        """Puts a sub- or superscript, or primes, on the last atom."""
        piece = self._peek()
        self._at += 1
        while atoms and atoms[-1].kind == "skip":
            atoms.pop()
        base = (
            atoms.pop()
            if atoms and atoms[-1].kind not in ("space", "bin", "rel", "punct")
            else MathAtom(MathBox.of(""))
        )
        raised = "′" if piece == "'" else script(self.line(), raised=piece == "^")
        kind = "ord" if base.kind in ("frac", "root", "grid", "open") else base.kind
        if base.kind == "frac":
            base = MathAtom(MathBox.of(f"({on_a_line(base.box)})"))
        atoms.append(MathAtom(side_by_side([base.box, MathBox.of(raised)]), kind))

    def _atom(self, piece: str) -> MathAtom:
        """What ``piece``, already taken, begins."""
        if piece == "{":
            self._at -= 1
            return MathAtom(self.argument())
        if piece[0] != "\\":
            return (
                MathAtom(MathBox.of(":"), "punct")
                if piece == ":" and self._peek().isspace()
                else character(piece)
            )
        name = piece[1:]
        if name == "begin":
            return self._environment()
        if (command := self._commands.get(name)) is not None:
            return command(self)
        if name in _WRAPPERS:
            return MathAtom(
                MathBox.of(self.verbatim()), "op" if name.startswith("operatorname") else "text"
            )
        if name in ACCENTS:
            return MathAtom(MathBox.of(accented(self.line(), name)))
        return self._symbol(name.rstrip("*"))

    def _symbol(self, name: str) -> MathAtom:
        for table, kind in (
            (LETTERS, "ord"),
            (RELATIONS, "rel"),
            (BINARIES, "bin"),
            (BIG, "big"),
            (OPENERS, "open"),
            (CLOSERS, "close"),
        ):
            if name in table and (
                len(name) > 1 or not name.isascii() or name.isalpha() or name in "{}%$#&_"
            ):
                return MathAtom(
                    MathBox.of(table[name]), {"{": "open", "}": "close"}.get(name, kind)
                )
        if name in BARS:
            return MathAtom(MathBox.of(BARS[name]), "bar")
        if name in FUNCTIONS:
            return MathAtom(MathBox.of(name), "op")
        if name in SPACES:
            return MathAtom(MathBox.of(SPACES[name]), "space")
        if name in IGNORED:
            if name in ("left", "right", "middle") and self._peek() == ".":
                self._at += 1
            return MathAtom(MathBox.of(""), "skip")
        spelled = f"\\{name}"
        while self._peek() == "{":
            spelled += f"{{{self.line()}}}"
        return MathAtom(
            MathBox.of(spelled), "ord" if spelled[-1] == "}" or not name.isalpha() else "op"
        )

    def _environment(self) -> MathAtom:
        name = self.name()
        star = name.rstrip("*")
        if star in ("array", "alignedat"):
            self.name()
        stacked, self.stacked = (
            self.stacked,
            False if star in (*_DELIMITED, *_CASES, "array") else self.stacked,
        )
        rows = self._rows(lambda piece: False)
        self.stacked = stacked
        if self._peek() == "\\end":
            self._at += 1
            self.name()
        if star in _CASES:
            left, right = ("", "}") if star == "rcases" else ("{", "")
            return MathAtom(
                grid(rows, left, right, align="left", stacked=self.stacked, between=", "), "grid"
            )
        if star in _DELIMITED or star == "array":
            left, right = (*_DELIMITED.get(star, ""), "", "")[:2]
            return MathAtom(grid(rows, left, right, align="right", stacked=self.stacked), "grid")
        return MathAtom(self._equations(rows))

    def name(self) -> str:
        """The characters of a group."""
        self._skip_spaces()
        if self._peek() != "{":
            return ""
        end = next(
            (i for i in range(self._at, len(self._tokens)) if self._tokens[i] == "}"),
            len(self._tokens),
        )
        name = "".join(self._tokens[self._at + 1 : end])
        self._at = end + 1
        return name

    def _equations(self, rows: list[list[MathBox]]) -> MathBox:
        """Rows under each other, aligned where they say so."""
        if not rows:
            return MathBox.of("")
        if len(rows) == 1:
            return side_by_side(spaced(rows[0]))
        if not self.stacked:
            return MathBox.of(
                "; ".join(on_a_line(side_by_side(spaced(row))).strip() for row in rows)
            )
        return grid(rows, "", "", align="equations", stacked=True)
