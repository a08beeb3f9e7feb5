"""TeX's mathematics as Unicode, for a terminal: ``\\frac{1}{2}`` is 1/2, ``x^2`` is x², a matrix on
lines of its own is drawn.

Knows one expression at a time, without the dollars around it. What has no Unicode is spelled on the
line, with brackets where reading demands them: e^(iπ), (a + b)/(2c). A name that is unknown stays
as it is written. Nothing is evaluated, no macro is defined. pylatexenc was looked at: it leaves
scripts, sums, matrices and ``\\boxed`` as they are and puts no brackets around fractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .boxes import BOXED, END_BOXED, MathBox, drawn_box, on_a_line, plain
from .reader import Commands, TexReader, TexTooDeepError
from .spacing import MathAtom, script
from .symbols import (
    DOUBLE_STRUCK,
    FUNCTIONS,
    NEGATED,
    SCRIPT,
    SUBSCRIPTS,
    SUPERSCRIPTS,
)

_DENOMINATOR = re.compile(
    r"\d[\d.,]*|\w[′⁰-⁹ⁿ²³¹ᵃ-ᵿ₀-₉ₐ-ₜᵢ-ᵪ\u0300-\u036f]*|[d∂]\w[²³ⁿ]?|[^\W\d_]{3,}|√[\w.]+|[^\W\d_]*\([^()]*\)"
)
_NUMERATOR = re.compile(r"[^\s/+*·×÷-]*")
_BRACKETED = re.compile(r"\([^()]*\)")
_CHEMICAL = re.compile(r"(?<=[A-Za-z)\]])(\d+)")


def inline(source: str) -> str:
    """``source`` on one line; what is boxed is between :data:`BOXED` and :data:`END_BOXED`."""
    return _read(source, stacked=False).rows[0]


def display(source: str) -> list[str]:
    """``source`` on lines of its own: rows of equations, matrices and boxes are drawn; all lines
    are equally wide.
    """
    return _read(source, stacked=True).rows


def _read(source: str, *, stacked: bool) -> MathBox:
    try:
        box = TexReader(source, _COMMANDS, stacked=stacked).whole()
    except TexTooDeepError:
        box = MathBox.of(" ".join(source.split()))
    if box.height == 1:
        return MathBox.of(box.rows[0].strip())
    return box


def _frac(reader: TexReader) -> MathAtom:
    above, below = reader.line(), reader.line()
    above = above if _NUMERATOR.fullmatch(_BRACKETED.sub("", plain(above))) else f"({above})"
    below = below if _DENOMINATOR.fullmatch(plain(below)) else f"({below})"
    return MathAtom(MathBox.of(f"{above}/{below}"), "frac")


def _sqrt(reader: TexReader) -> MathAtom:
    degree, inner = reader.optional(), reader.line()
    sign = {"": "√", "2": "√", "3": "∛", "4": "∜"}.get(degree, f"{script(degree, raised=True)}√")
    return MathAtom(
        MathBox.of(sign + (inner if re.fullmatch(r"[\d.]+|\w", inner) else f"({inner})")), "root"
    )


def _boxed(reader: TexReader) -> MathAtom:
    box = reader.argument()
    if reader.stacked:
        return MathAtom(drawn_box(box))
    return MathAtom(MathBox.of(f"{BOXED}⟦{plain(on_a_line(box)).strip()}⟧{END_BOXED}"))


def _binom(reader: TexReader) -> MathAtom:
    return MathAtom(MathBox.of(f"C({reader.line()}, {reader.line()})"))


def _pmod(reader: TexReader) -> MathAtom:
    return MathAtom(MathBox.of(f" (mod {reader.line()})"), "text")


def _with_script(*, raised: bool, script_first: bool) -> Callable[[TexReader], MathAtom]:
    def read(reader: TexReader) -> MathAtom:
        first, second = reader.line(), reader.line()
        base, above = (second, first) if script_first else (first, second)
        return MathAtom(
            MathBox.of(base + script(above, raised=raised)), "op" if base in FUNCTIONS else "ord"
        )

    return read


def _arrow(sign: str) -> Callable[[TexReader], MathAtom]:
    def read(reader: TexReader) -> MathAtom:
        below = reader.optional()
        over = ", ".join(filter(None, (reader.line(), below)))
        return MathAtom(MathBox.of(f"─{over}{sign}" if over else sign), "rel")

    return read


def _letters(table: dict[str, str]) -> Callable[[TexReader], MathAtom]:
    return lambda reader: MathAtom(MathBox.of("".join(table.get(c, c) for c in reader.line())))


def _second(reader: TexReader) -> MathAtom:
    """What is in the second group: the first says how it looks."""
    reader.name()
    return MathAtom(reader.argument())


def _nothing(reader: TexReader) -> MathAtom:
    """A group that shows nothing."""
    reader.argument()
    return MathAtom(MathBox.of(""), "skip")


def _tag(reader: TexReader) -> MathAtom:
    return MathAtom(MathBox.of(f"  ({reader.verbatim()})"), "text")


def _chemistry(reader: TexReader) -> MathAtom:
    text = _CHEMICAL.sub(lambda m: "".join(SUBSCRIPTS[c] for c in m[1]), reader.name())
    text = re.sub(r"\^\{?([0-9]*[+-])\}?", lambda m: "".join(SUPERSCRIPTS[c] for c in m[1]), text)
    return MathAtom(MathBox.of(text.replace("<=>", "⇌").replace("->", "→")), "text")


def _not(reader: TexReader) -> MathAtom:
    text = reader.line()
    return MathAtom(MathBox.of(NEGATED.get(text, text + "\u0338")), "rel")


_COMMANDS: Commands = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _frac),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), _binom),
    **dict.fromkeys(("boxed", "fbox"), _boxed),
    **dict.fromkeys(("pmod", "pod"), _pmod),
    **dict.fromkeys(
        ("underbrace", "overbrace"), lambda reader: MathAtom(reader.argument(), "frac")
    ),
    **dict.fromkeys(("overset", "stackrel"), _with_script(raised=True, script_first=True)),
    "underset": _with_script(raised=False, script_first=True),
    **dict.fromkeys(("xrightarrow", "xlongrightarrow"), _arrow("→")),
    "xleftarrow": _arrow("←"),
    **dict.fromkeys(("mathbb", "mathds"), _letters(DOUBLE_STRUCK)),
    **dict.fromkeys(("mathcal", "mathscr"), _letters(SCRIPT)),
    **dict.fromkeys(("color", "textcolor", "colorbox"), _second),
    **dict.fromkeys(
        ("phantom", "hphantom", "vphantom", "label", "vspace", "hspace", "hspace*"), _nothing
    ),
    "sqrt": _sqrt,
    "tag": _tag,
    "ce": _chemistry,
    "not": _not,
}
