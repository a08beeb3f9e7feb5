"""TeX's mathematics as Unicode, for a terminal.

``\\frac{1}{2}`` is 1/2, ``x^2`` is x², a matrix on lines of its own is drawn. Knows one expression
at a time, without the dollars around it. What has no character of its own is spelled on the line,
with brackets where reading demands them: e^(iπ), (a + b)/(2c). An unknown name stays as it is
written. Nothing is evaluated, no macro is defined.

pylatexenc was looked at: it leaves scripts, sums, matrices and ``\\boxed`` as they are, and puts no
brackets around fractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .boxes import BOXED, END_BOXED, MathBox, framed, on_a_line, plain
from .reader import Commands, TexReader, TexTooDeepError
from .spacing import MathAtom, script_text
from .symbols import (
    DOUBLE_STRUCK,
    FUNCTIONS,
    NEGATED,
    SCRIPT,
    SUBSCRIPTS,
    SUPERSCRIPTS,
)

# What needs no brackets below a fraction's bar.
_DENOMINATOR = re.compile(
    r"""
    \d[\d.,]*
    | \w[′⁰-⁹ⁿ²³¹ᵃ-ᵿ₀-₉ₐ-ₜᵢ-ᵪ\u0300-\u036f]*
    | [d∂]\w[²³ⁿ]?
    | [^\W\d_]{3,}
    | √[\w.]+
    | [^\W\d_]*\([^()]*\)
    """,
    re.VERBOSE,
)
_NUMERATOR = re.compile(r"[^\s/+*·×÷-]*")
_BRACKETED = re.compile(r"\([^()]*\)")
_CHEMICAL = re.compile(r"(?<=[A-Za-z)\]])(\d+)")
_RADICAND = re.compile(r"[\d.]+|\w")  # what needs no brackets below a root
_CHARGE = re.compile(r"\^\{?([0-9]*[+-])\}?")
_ROOT_SIGNS = {"": "√", "2": "√", "3": "∛", "4": "∜"}


def inline(source: str) -> str:
    """Return ``source`` on one line; what is boxed is between ``BOXED`` and ``END_BOXED``."""
    return _read(source, stacked=False).rows[0]


def display(source: str) -> list[str]:
    """Return ``source`` on lines of its own, which are equally wide.

    Rows of equations, matrices and boxes are drawn.
    """
    return _read(source, stacked=True).rows


def _read(source: str, *, stacked: bool) -> MathBox:
    try:
        box = TexReader(source, _COMMANDS, stacked=stacked).read()
    except TexTooDeepError:
        box = MathBox.of(" ".join(source.split()))
    if box.height == 1:
        return MathBox.of(box.rows[0].strip())
    return box


def _fraction(reader: TexReader) -> MathAtom:
    above = reader.argument_text()
    below = reader.argument_text()
    if not _NUMERATOR.fullmatch(_BRACKETED.sub("", plain(above))):
        above = f"({above})"
    if not _DENOMINATOR.fullmatch(plain(below)):
        below = f"({below})"
    return MathAtom.of(f"{above}/{below}", "frac")


def _root(reader: TexReader) -> MathAtom:
    degree = reader.optional_text()
    radicand = reader.argument_text()
    sign = _ROOT_SIGNS.get(degree, f"{script_text(degree, is_raised=True)}√")
    if not _RADICAND.fullmatch(radicand):
        radicand = f"({radicand})"
    return MathAtom.of(sign + radicand, "root")


def _boxed(reader: TexReader) -> MathAtom:
    box = reader.argument()
    if reader.stacked:
        return MathAtom(framed(box))
    return MathAtom.of(f"{BOXED}⟦{plain(on_a_line(box)).strip()}⟧{END_BOXED}")


def _binomial(reader: TexReader) -> MathAtom:
    return MathAtom.of(f"C({reader.argument_text()}, {reader.argument_text()})")


def _modulus(reader: TexReader) -> MathAtom:
    return MathAtom.of(f" (mod {reader.argument_text()})", "text")


def _brace_over(reader: TexReader) -> MathAtom:
    """Read an expression under or over a brace, which is left out: brackets show what it spans."""
    return MathAtom(reader.argument(), "frac")


def _with_script(*, is_raised: bool) -> Callable[[TexReader], MathAtom]:
    """Return a command whose first argument is a script of its second."""

    def read(reader: TexReader) -> MathAtom:
        script = reader.argument_text()
        base = reader.argument_text()
        text = base + script_text(script, is_raised=is_raised)
        return MathAtom.of(text, "op" if base in FUNCTIONS else "ord")

    return read


def _arrow(sign: str) -> Callable[[TexReader], MathAtom]:
    """Return a command that draws an arrow with its argument on it."""

    def read(reader: TexReader) -> MathAtom:
        below = reader.optional_text()
        text = ", ".join(filter(None, (reader.argument_text(), below)))
        return MathAtom.of(f"─{text}{sign}" if text else sign, "rel")

    return read


def _letters(table: dict[str, str]) -> Callable[[TexReader], MathAtom]:
    """Return a command that writes its argument in other letters."""
    return lambda reader: MathAtom.of("".join(table.get(c, c) for c in reader.argument_text()))


def _second_argument(reader: TexReader) -> MathAtom:
    """Read a group that says how the next one looks, and return the next one."""
    reader.raw_text()
    return MathAtom(reader.argument())


def _invisible(reader: TexReader) -> MathAtom:
    reader.argument()
    return MathAtom.of("", "skip")


def _tag(reader: TexReader) -> MathAtom:
    return MathAtom.of(f"  ({reader.verbatim_text()})", "text")


def _chemistry(reader: TexReader) -> MathAtom:
    """Read a formula of the package mhchem."""
    text = _CHEMICAL.sub(lambda m: _translated(m[1], SUBSCRIPTS), reader.raw_text())
    text = _CHARGE.sub(lambda m: _translated(m[1], SUPERSCRIPTS), text)
    return MathAtom.of(text.replace("<=>", "⇌").replace("->", "→"), "text")


def _translated(text: str, table: dict[str, str]) -> str:
    return "".join(table[character] for character in text)


def _not(reader: TexReader) -> MathAtom:
    text = reader.argument_text()
    return MathAtom.of(NEGATED.get(text, text + "\u0338"), "rel")


_COMMANDS: Commands = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _fraction),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), _binomial),
    **dict.fromkeys(("boxed", "fbox"), _boxed),
    **dict.fromkeys(("pmod", "pod"), _modulus),
    **dict.fromkeys(("underbrace", "overbrace"), _brace_over),
    **dict.fromkeys(("overset", "stackrel"), _with_script(is_raised=True)),
    "underset": _with_script(is_raised=False),
    **dict.fromkeys(("xrightarrow", "xlongrightarrow"), _arrow("→")),
    "xleftarrow": _arrow("←"),
    **dict.fromkeys(("mathbb", "mathds"), _letters(DOUBLE_STRUCK)),
    **dict.fromkeys(("mathcal", "mathscr"), _letters(SCRIPT)),
    **dict.fromkeys(("color", "textcolor", "colorbox"), _second_argument),
    **dict.fromkeys(
        ("phantom", "hphantom", "vphantom", "label", "vspace", "hspace", "hspace*"), _invisible
    ),
    "sqrt": _root,
    "tag": _tag,
    "ce": _chemistry,
    "not": _not,
}
