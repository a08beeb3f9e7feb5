"""Make text of a model or a file safe for a terminal, which must not interpret it.

These are taken out: control characters (C0 without tab and newline, DEL, C1), because a terminal
obeys them; marks, embeddings, overrides and isolates of direction, because they change the order in
which text is read, and terminals order right-to-left writing without them; characters that nobody
sees (tags, variation selectors of ideographs, zero-width space and joiner of words, byte order
marks, invisible operators, soft hyphens, annotation marks), because they hide text in what is
copied, and terminals disagree on their widths.

These stay although they are invisible: U+200D, which joins emoji into one and shapes Indic and
Arabic letters; U+200C, without which Persian is misspelled; the selectors that make an emoji of a
sign. None of them moves anything or can carry more than itself.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

# For a stream's ``errors``: what its encoding lacks is written as :func:`encodable` has it.
ENCODABLE = "dslocal.encodable"
MAX_LINE = 400  # characters of a message

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # directions
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u00ad\u180e\u200b\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"  # invisible
)
_BREAKS_TO_SPACES = str.maketrans("\n\t", "  ")
_UNICODE_ENCODINGS = ("utf8", "utf16", "utf32", "utf8sig", "gb18030")


def _table(text: str) -> dict[str, str]:
    """Return a table from words that are characters and their replacements in turns."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# What a terminal shows instead of characters that its encoding lacks.
_REPLACEMENTS = {
    **dict(zip("─━│┃┌┐└┘├┤┬┴┼▌•◦▪‐‑‒–—―−", "--||+++++++++|*o+-------", strict=True)),
    **dict(zip("⎛⎜⎝⎞⎟⎠⎡⎢⎣⎤⎥⎦⎧⎨⎩⎪⎫⎬⎭║‖∣", "/|\\\\|/[[[]]]{{{|}}}|||", strict=True)),
    **dict(zip("‘’‚‛“”„′″⟨⟩∗⋆∼∖⋅·×÷∶⁄", "''''\"\"\"'\"<>**~\\**x/:/", strict=True)),
    **_table(
        """
        … ... ⋯ ... ☑ [x] ✓ v ✔ v ✗ x ✘ x ⟦ [[ ⟧ ]] √ sqrt ∛ cbrt ≤ <= ≥ >= ≠ != ≈ ~= ≡ == ± +-
        ∓ -+ → -> ← <- ↔ <-> ⇒ => ⇐ <= ⇔ <=> ⟹ ==> ⟸ <== ⟺ <=> ⟶ --> ↦ |-> ∞ inf ∑ sum ∏ prod
        ∫ int ∂ d ∅ {} ∧ and ∨ or € EUR £ GBP © (c) ® (R) ™ (TM) « << » >> ∴ therefore ∥ ||
        ⊥ _|_
        """
    ),
    **_table(
        """
        α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta λ lambda μ mu ν nu ξ xi π pi
        ρ rho σ sigma τ tau φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi
        Σ Sigma Φ Phi Ψ Psi Ω Omega ß ss æ ae ø o œ oe ł l ı i Æ AE Ø O Œ OE Ł L
        """
    ),
    # with spaces around them, or after them
    "☐": "[ ]",
    "∇": "grad ",
    "∈": " in ",
    "∉": " not in ",
    "∀": "for all ",
    "∃": "exists ",
    "∪": " u ",
    "∩": " n ",
    "¬": "not ",
    "°": " deg",
    "⊂": " sub ",
    "⊆": " sub= ",
}


def sanitise(text: str) -> str:
    """Return ``text`` without what a terminal acts on, what reorders it, and what nobody sees.

    Lone surrogates become question marks. Every character is judged by itself, so the result is
    the same however a text is cut.
    """
    return _UNSAFE.sub("", text).encode("utf-8", "replace").decode("utf-8")


def sanitise_line(text: object) -> str:
    """Return a path or another text, sanitised, on one line: spaces replace newlines and tabs.

    It is whole and keeps its spaces, so that a path can be copied. For the text of a message, see
    :func:`one_line`.
    """
    return sanitise(str(text)).translate(_BREAKS_TO_SPACES)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return ``text``, sanitised, on one line of at most ``limit`` characters."""
    line = " ".join(sanitise(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def encodable(text: str, encoding: str) -> str:
    """Return ``text`` in characters that an encoding has.

    Others are replaced: → by ->, é by e, x² by x^2, and what has no replacement by question marks,
    as wide as it was.
    """
    if text.isascii() or encoding.lower().replace("-", "").replace("_", "") in _UNICODE_ENCODINGS:
        return text
    return "".join(_encodable_character(character, encoding) for character in text)


@lru_cache(4096)
def _encodable_character(character: str, encoding: str) -> str:
    if _can_encode(character, encoding):
        return character
    if replacement := _REPLACEMENTS.get(character):
        return _encodable_parts(replacement, encoding)
    if unicodedata.combining(character) or character in "\u200c\u200d\ufe0e\ufe0f":
        return ""
    plain = unicodedata.normalize("NFKD", character)
    if plain == character:
        is_wide = unicodedata.east_asian_width(character) == "W"
        return "??" if is_wide else "?"
    kind = unicodedata.decomposition(character).partition(" ")[0]
    mark = {"<super>": "^", "<sub>": "_"}.get(kind, "")
    return mark + _encodable_parts(plain, encoding)


def _encodable_parts(text: str, encoding: str) -> str:
    return "".join(c if c.isascii() else _encodable_character(c, encoding) for c in text)


def _can_encode(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Return what is written instead of what a stream's encoding lacks: a codecs error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].encode("utf-8", "replace").decode("utf-8")
    return encodable(lacking, error.encoding), error.end


codecs.register_error(ENCODABLE, _replace_unencodable)
