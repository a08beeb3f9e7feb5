"""What stands beside what in mathematics: the spaces that TeX would set, scripts above and below
the line. Reads no TeX.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from .boxes import MathBox, plain, side_by_side
from .symbols import ACCENTS, SUBSCRIPTS, SUPERSCRIPTS


@dataclass(frozen=True)
class MathAtom:
    """A box and what it is to its neighbours: ord, frac, root, op, big, bin, rel, open, close,
    punct, space, text, bar, skip.
    """

    box: MathBox
    kind: str = "ord"


def character(piece: str) -> MathAtom:
    if piece.isspace() or piece == "~":
        return MathAtom(
            MathBox.of(" " if piece == "~" else ""), "space" if piece == "~" else "skip"
        )
    if piece in "=<>≤≥≠≈→⇒∈":
        return MathAtom(MathBox.of(piece), "rel")
    if piece in "+-*×÷±·−":
        return MathAtom(MathBox.of(piece), "bin")
    kinds = {
        "(": "open",
        "[": "open",
        ")": "close",
        "]": "close",
        ",": "punct",
        ";": "punct",
        "|": "bar",
    }
    return MathAtom(MathBox.of("" if piece in "$" else piece), kinds.get(piece, "ord"))


def spaced(row: list[MathBox]) -> list[MathBox]:
    """The cells of an equation, a space between those that have none."""
    spaced: list[MathBox] = []
    for box in row:
        if (
            spaced
            and box.height == 1
            and box.rows[0][:1].strip()
            and spaced[-1].rows[0][-1:].strip()
        ):
            spaced.append(MathBox.of(" "))
        spaced.append(box)
    return spaced


_TIGHT = frozenset(("open", "skip", "space"))
_OPERANDS = frozenset(("ord", "frac", "root", "op", "big", "open", "text", "bar", "grid"))


def joined(atoms: list[MathAtom]) -> MathBox:
    """The atoms beside each other, with the spaces that TeX would set."""
    atoms = [atom for atom in atoms if atom.kind != "skip"]
    fixed: list[MathAtom] = []
    bars = 0
    for atom in atoms:
        before = fixed[-1].kind if fixed else "open"
        kind = atom.kind
        if (
            kind == "bin"
            and before in ("open", "rel", "bin", "punct", "sign", "op")
            and atom.box.rows[0] in "+-±∓−"
        ):
            kind = "sign"
        elif kind == "bar":
            bars += 1
            kind = "open" if bars % 2 else "close"
        fixed.append(MathAtom(atom.box, kind))
    boxes = [atom.box for atom in fixed[:1]]
    if fixed and fixed[0].kind == "rel" and len(fixed) > 1:
        boxes.append(MathBox.of(" "))
    for i, (left, right) in enumerate(pairwise(fixed)):
        if (
            (i or left.kind != "rel")
            and _apart(left, right)
            and not boxes[-1].rows[0].endswith(" ")
        ):
            boxes.append(MathBox.of(" "))
        boxes.append(right.box)
    return side_by_side(boxes)


def _apart(left: MathAtom, right: MathAtom) -> bool:
    """Whether a space belongs between two atoms."""
    a, b = left.kind, right.kind
    if "space" in (a, b) or not right.box.rows[0].strip():
        return False
    if a in ("rel", "bin", "punct") or b in ("rel", "bin"):
        return a != "open" and b != "close"
    if a == "op" and b in ("ord", "op", "big", "frac", "root", "text"):
        return True
    if a in ("ord", "close", "frac", "root", "text") and b in ("op", "big"):
        return True
    if a == "big":
        return b in _OPERANDS
    if a in ("frac", "grid"):
        return b in _OPERANDS
    if b in ("frac", "grid"):
        return a in ("ord", "close", "root", "op")
    return a == "root" and b in ("ord", "root", "open")


def script(text: str, *, raised: bool) -> str:
    """``text`` above or below the line, where Unicode can; else after ^ or _."""
    tight = plain(re.sub(r"\s*([=<>≤≥≠→∈+*×·±,-])\s*", r"\1", text))
    table = SUPERSCRIPTS if raised else SUBSCRIPTS
    if tight and all(c in table for c in tight):
        return "".join(table[c] for c in tight)
    if not tight:
        return ""
    single = len(tight) == 1 or (
        tight.isascii() and (tight.isdigit() or (tight.isalpha() and len(tight) > 2))
    )
    return f"{'^' if raised else '_'}{tight if single else f'({tight})'}"


def accented(text: str, name: str) -> str:
    if (
        len(text) == 1
        or (len(text) <= 4 and text.isalnum() and name in ("overline", "underline", "bar"))
        or "cancel" in name
    ):
        return "".join(c + ACCENTS[name] for c in text)
    return (
        text + ACCENTS[name]
        if len(text) == 2 and name in ("vec", "overrightarrow")
        else f"{name}({text})"
    )
