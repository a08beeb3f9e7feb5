"""Read one expression of TeX's mathematics into boxes.

Its caller passes in what commands with arguments do (:mod:`.to_unicode`). Knows no terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from .boxes import MathBox, cases, equations, matrix, on_a_line, side_by_side
from .spacing import (
    AtomKind,
    MathAtom,
    accented_text,
    character_atom,
    join_atoms,
    script_text,
    space_cells,
)
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
Ends = Callable[[str], bool]  # whether a lexeme ends a sequence

MAX_DEPTH = 40  # groups in each other

_LEXEME = re.compile(r"\\(?:[A-Za-z]+\*?|.)|\s+|.", re.DOTALL)
_ROW_SKIP = re.compile(r"\\\\\s*\[[^\]]{0,12}\]")  # \\[2pt]
_ROW_ENDS = ("\\\\", "\\cr", "\\newline")

_MATRIX_BRACKETS = {
    "matrix": ("", ""),
    "smallmatrix": ("", ""),
    "array": ("", ""),
    "pmatrix": ("(", ")"),
    "bmatrix": ("[", "]"),
    "Bmatrix": ("{", "}"),
    "vmatrix": ("|", "|"),
    "Vmatrix": ("‖", "‖"),
}
_CASES_BRACKETS = {"cases": ("{", ""), "dcases": ("{", ""), "rcases": ("", "}")}
_TEXT_COMMANDS = words(
    """
    text textrm textbf textit texttt textsf textnormal mathrm mathbf mathit mathsf mathtt
    boldsymbol bm operatorname operatorname* mbox hbox emph mathfrak pmb substack ensuremath
    textup mathnormal vphantom*
    """
)
_SYMBOL_TABLES: tuple[tuple[Mapping[str, str], AtomKind], ...] = (
    (LETTERS, "ord"),
    (RELATIONS, "rel"),
    (BINARIES, "bin"),
    (BIG, "big"),
    (OPENERS, "open"),
    (CLOSERS, "close"),
)
_BRACE_KINDS: dict[str, AtomKind] = {"{": "open", "}": "close"}


class TexTooDeepError(Exception):
    """Groups are in groups beyond :data:`MAX_DEPTH`."""


def _never(lexeme: str) -> bool:
    return False


class TexReader:
    """Reads one expression.

    Args:
        source: The expression, without the dollars around it.
        commands: What commands do that are not symbols, by name.
        stacked: Whether rows may be drawn above each other.
    """

    def __init__(self, source: str, commands: Commands, *, stacked: bool) -> None:
        self._commands = commands
        self._lexemes = _LEXEME.findall(_ROW_SKIP.sub(r"\\\\ ", source))
        self._position = 0
        self._depth = 0
        self.stacked = stacked

    def read(self) -> MathBox:
        """Return the whole expression. Raises TexTooDeepError."""
        rows: list[list[MathBox]] = []
        while self._position < len(self._lexemes):
            rows += self._rows()
            self._position += 1  # a closing brace or \end too many
        return self._equations(rows)

    # Arguments, which commands read

    def argument(self) -> MathBox:
        """Return the next group, or the next lexeme, as a box."""
        self._skip_spaces()
        lexeme = self._peek()
        if not lexeme or lexeme in "}&":
            return MathBox.of("")
        self._position += 1
        if lexeme == "{":
            box = self._sequence(_never)
            self._skip("}")
            return box
        self._enter_group()
        box = self._atom(lexeme).box
        self._depth -= 1
        return box

    def argument_text(self) -> str:
        """Return the next argument on one line."""
        stacked, self.stacked = self.stacked, False
        text = self.argument().rows[0].strip()
        self.stacked = stacked
        return text

    def optional_text(self) -> str:
        """Return what is in the square brackets that may come next, on one line."""
        self._skip_spaces()
        if self._peek() != "[":
            return ""
        self._position += 1
        box = self._sequence(lambda lexeme: lexeme == "]")
        self._position += 1
        return on_a_line(box)

    def verbatim_text(self) -> str:
        """Return the next group's characters as they are, symbols and mathematics translated."""
        self._skip_spaces()
        if self._peek() != "{":
            return self.argument_text()
        self._position += 1
        parts: list[str] = []
        while (lexeme := self._peek()) and lexeme != "}":
            if lexeme == "{":
                parts.append(self.verbatim_text())
                continue
            self._position += 1
            if lexeme == "$":
                parts.append(on_a_line(self._sequence(lambda lexeme: lexeme == "$")))
                self._skip("$")
            elif lexeme.startswith("\\"):
                parts.append(self._atom(lexeme).box.rows[0])
            else:
                parts.append(lexeme)
        self._position += 1
        return " ".join("".join(parts).split("\n"))

    def raw_text(self) -> str:
        """Return the source of the next group, up to its first closing brace."""
        self._skip_spaces()
        if self._peek() != "{":
            return ""
        end = self._position
        while end < len(self._lexemes) and self._lexemes[end] != "}":
            end += 1
        text = "".join(self._lexemes[self._position + 1 : end])
        self._position = end + 1
        return text

    # Lexemes

    def _peek(self) -> str:
        return self._lexemes[self._position] if self._position < len(self._lexemes) else ""

    def _skip(self, lexeme: str) -> None:
        """Go past ``lexeme`` if it comes next."""
        if self._peek() == lexeme:
            self._position += 1

    def _skip_spaces(self) -> None:
        while self._peek().isspace():
            self._position += 1

    # Rows and sequences

    def _rows(self) -> list[list[MathBox]]:
        """Return rows of cells up to a closing brace, ``\\end`` or the end, which are left."""
        rows: list[list[MathBox]] = [[]]
        while True:
            rows[-1].append(self._sequence(lambda lexeme: lexeme == "&" or lexeme in _ROW_ENDS))
            lexeme = self._peek()
            if lexeme == "&":
                self._position += 1
            elif lexeme in _ROW_ENDS:
                self._position += 1
                rows.append([])
            else:
                return [row for row in rows if any(map(_has_content, row))]

    def _sequence(self, ends: Ends) -> MathBox:
        """Return everything up to a lexeme that ends it, a closing brace or the end."""
        self._enter_group()
        atoms: list[MathAtom] = []
        while (lexeme := self._peek()) and lexeme not in ("}", "\\end") and not ends(lexeme):
            self._position += 1
            if lexeme in "^_'":
                atoms.append(self._scripted(atoms, lexeme))
            else:
                atoms.append(self._atom(lexeme))
        self._depth -= 1
        return join_atoms(atoms)

    def _enter_group(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TexTooDeepError

    def _equations(self, rows: list[list[MathBox]]) -> MathBox:
        """Return rows below each other, aligned where they say so."""
        if not rows:
            return MathBox.of("")
        if len(rows) == 1:
            return side_by_side(space_cells(rows[0]))
        if self.stacked:
            return equations(rows)
        lines = [on_a_line(side_by_side(space_cells(row))).strip() for row in rows]
        return MathBox.of("; ".join(lines))

    # Atoms

    def _scripted(self, atoms: list[MathAtom], mark: str) -> MathAtom:
        """Take the base of a script from the end of ``atoms``, and return it with the script.

        Args:
            atoms: What stands before the mark.
            mark: ``^``, ``_`` or a prime.
        """
        base = _pop_script_base(atoms)
        raised = "′" if mark == "'" else script_text(self.argument_text(), is_raised=mark == "^")
        kind: AtomKind = base.kind
        if kind in ("frac", "root", "grid", "open"):
            kind = "ord"
        box = base.box
        if base.kind == "frac":
            box = MathBox.of(f"({on_a_line(box)})")
        return MathAtom(side_by_side([box, MathBox.of(raised)]), kind)

    def _atom(self, lexeme: str) -> MathAtom:
        """Return what ``lexeme``, which is behind us, begins."""
        if lexeme == "{":
            self._position -= 1
            return MathAtom(self.argument())
        if lexeme == ":" and self._peek().isspace():
            return MathAtom.of(":", "punct")
        if not lexeme.startswith("\\"):
            return character_atom(lexeme)
        name = lexeme[1:]
        if name == "begin":
            return self._environment()
        if (command := self._commands.get(name)) is not None:
            return command(self)
        if name in _TEXT_COMMANDS:
            is_operator = name.startswith("operatorname")
            return MathAtom.of(self.verbatim_text(), "op" if is_operator else "text")
        if name in ACCENTS:
            return MathAtom.of(accented_text(self.argument_text(), name))
        return self._symbol(name.rstrip("*"))

    def _symbol(self, name: str) -> MathAtom:
        """Return the symbol of a name; an unknown name stays as it is written."""
        # A sign that is a symbol by itself is not one after a backslash, unless it is escaped so.
        is_name = len(name) > 1 or not name.isascii() or name.isalpha() or name in "{}%$#&_"
        for table, kind in _SYMBOL_TABLES:
            if is_name and name in table:
                return MathAtom.of(table[name], _BRACE_KINDS.get(name, kind))
        if name in BARS:
            return MathAtom.of(BARS[name], "bar")
        if name in FUNCTIONS:
            return MathAtom.of(name, "op")
        if name in SPACES:
            return MathAtom.of(SPACES[name], "space")
        if name in IGNORED:
            if name in ("left", "right", "middle"):
                self._skip(".")
            return MathAtom.of("", "skip")
        return self._unknown(name)

    def _unknown(self, name: str) -> MathAtom:
        """Return an unknown command with its arguments as it is written."""
        text = f"\\{name}"
        while self._peek() == "{":
            text += f"{{{self.argument_text()}}}"
        is_bare_name = name.isalpha() and not text.endswith("}")
        return MathAtom.of(text, "op" if is_bare_name else "ord")

    def _environment(self) -> MathAtom:
        name = self.raw_text().rstrip("*")
        if name in ("array", "alignedat"):
            self.raw_text()  # how its columns are aligned, or how many there are
        is_grid = name in _MATRIX_BRACKETS or name in _CASES_BRACKETS
        stacked = self.stacked
        if is_grid:
            self.stacked = False  # the cells of a grid are lines
        rows = self._rows()
        self.stacked = stacked
        if self._peek() == "\\end":
            self._position += 1
            self.raw_text()
        if name in _CASES_BRACKETS:
            return MathAtom(cases(rows, *_CASES_BRACKETS[name], stacked=stacked), "grid")
        if name in _MATRIX_BRACKETS:
            return MathAtom(matrix(rows, *_MATRIX_BRACKETS[name], stacked=stacked), "grid")
        return MathAtom(self._equations(rows))


def _has_content(cell: MathBox) -> bool:
    return cell.height > 1 or bool(cell.rows[0].strip())


def _pop_script_base(atoms: list[MathAtom]) -> MathAtom:
    """Remove and return the atom that a script belongs to; an empty one where there is none."""
    while atoms and atoms[-1].kind == "skip":
        atoms.pop()
    if not atoms or atoms[-1].kind in ("space", "bin", "rel", "punct"):
        return MathAtom.of("")
    return atoms.pop()
