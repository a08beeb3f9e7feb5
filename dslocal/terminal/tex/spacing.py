"""Atoms of mathematics and the spaces between them; scripts above and below the line.

The kinds of atoms and the spaces follow The TeXbook, chapters 17 and 18, as far as whole cells
allow. Reads no TeX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .boxes import MathBox, plain, side_by_side
from .symbols import ACCENTS, SUBSCRIPTS, SUPERSCRIPTS

AtomKind = Literal[
    "ord",
    "frac",
    "root",
    "grid",
    "op",  # a function's name
    "big",  # a large operator
    "bin",  # a binary operator
    "sign",  # such an operator before its only operand
    "rel",
    "open",
    "close",
    "bar",  # opens and closes in turns
    "punct",
    "text",
    "space",  # a space that was written
    "skip",  # nothing
]


@dataclass(frozen=True)
class MathAtom:
    """A box, and what it is to its neighbours."""

    box: MathBox
    kind: AtomKind = "ord"

    @classmethod
    def of(cls, text: str, kind: AtomKind = "ord") -> MathAtom:
        """Return an atom of one row."""
        return cls(MathBox.of(text), kind)


_CHARACTER_KINDS: dict[str, AtomKind] = {
    **dict.fromkeys("=<>≤≥≠≈→⇒∈", "rel"),
    **dict.fromkeys("+-*×÷±·−", "bin"),
    **dict.fromkeys("([", "open"),
    **dict.fromkeys(")]", "close"),
    **dict.fromkeys(",;", "punct"),
    "|": "bar",
}


def character_atom(character: str) -> MathAtom:
    """Return a character of the source as an atom."""
    if character == "~":
        return MathAtom.of(" ", "space")
    if character.isspace():
        return MathAtom.of("", "skip")
    if character == "$":
        return MathAtom.of("")
    return MathAtom.of(character, _CHARACTER_KINDS.get(character, "ord"))


def space_cells(row: Sequence[MathBox]) -> list[MathBox]:
    """Return the cells of an equation with a space between those that have none."""
    spaced: list[MathBox] = []
    for box in row:
        begins_with_text = box.height == 1 and box.rows[0][:1].strip()
        if spaced and begins_with_text and spaced[-1].rows[0][-1:].strip():
            spaced.append(MathBox.of(" "))
        spaced.append(box)
    return spaced


def join_atoms(atoms: Sequence[MathAtom]) -> MathBox:
    """Return the atoms beside each other, with the spaces that TeX would set."""
    fixed = _fix_kinds([atom for atom in atoms if atom.kind != "skip"])
    if not fixed:
        return side_by_side([])
    boxes = [fixed[0].box]
    begins_with_relation = fixed[0].kind == "rel"
    if begins_with_relation and len(fixed) > 1:
        boxes.append(MathBox.of(" "))
    for number, (left, right) in enumerate(pairwise(fixed)):
        is_spaced = number == 0 and begins_with_relation
        if not is_spaced and _needs_space(left, right) and not boxes[-1].rows[0].endswith(" "):
            boxes.append(MathBox.of(" "))
        boxes.append(right.box)
    return side_by_side(boxes)


def _fix_kinds(atoms: Sequence[MathAtom]) -> list[MathAtom]:
    """Return the atoms, with signs and operators, and opening and closing bars distinguished."""
    fixed: list[MathAtom] = []
    bars = 0
    for atom in atoms:
        before = fixed[-1].kind if fixed else "open"
        kind = atom.kind
        if kind == "bin" and before in _BEFORE_A_SIGN and atom.box.rows[0] in "+-±∓−":
            kind = "sign"
        elif kind == "bar":
            bars += 1
            kind = "open" if bars % 2 else "close"
        fixed.append(MathAtom(atom.box, kind))
    return fixed


_BEFORE_A_SIGN = frozenset(("open", "rel", "bin", "punct", "sign", "op"))
_OPERANDS = frozenset(("ord", "frac", "root", "op", "big", "open", "text", "bar", "grid"))


def _needs_space(left: MathAtom, right: MathAtom) -> bool:
    """Return whether a space belongs between two atoms."""
    a, b = left.kind, right.kind
    if "space" in (a, b) or not right.box.rows[0].strip():
        return False
    if a in ("rel", "bin", "punct") or b in ("rel", "bin"):
        return a != "open" and b != "close"
    if a == "op" and b in ("ord", "op", "big", "frac", "root", "text"):
        return True
    if a in ("ord", "close", "frac", "root", "text") and b in ("op", "big"):
        return True
    if a in ("big", "frac", "grid"):
        return b in _OPERANDS
    if b in ("frac", "grid"):
        return a in ("ord", "close", "root", "op")
    return a == "root" and b in ("ord", "root", "open")


def script_text(text: str, *, is_raised: bool) -> str:
    """Return a script: in raised or lowered characters where all exist, else after ^ or _."""
    tight = plain(re.sub(r"\s*([=<>≤≥≠→∈+*×·±,-])\s*", r"\1", text))
    if not tight:
        return ""
    table = SUPERSCRIPTS if is_raised else SUBSCRIPTS
    if all(character in table for character in tight):
        return "".join(table[character] for character in tight)
    is_word = tight.isascii() and (tight.isdigit() or (tight.isalpha() and len(tight) > 2))
    mark = "^" if is_raised else "_"
    return f"{mark}{tight}" if len(tight) == 1 or is_word else f"{mark}({tight})"


def accented_text(text: str, accent: str) -> str:
    """Return ``text`` with an accent of TeX: over each character, or as a function's name."""
    sign = ACCENTS[accent]
    is_short = len(text) <= 4 and text.isalnum() and accent in ("overline", "underline", "bar")
    if len(text) == 1 or is_short or "cancel" in accent:
        return "".join(character + sign for character in text)
    if len(text) == 2 and accent in ("vec", "overrightarrow"):
        return text + sign
    return f"{accent}({text})"
