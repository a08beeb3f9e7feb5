"""The only way in which text of a model, a file or a GGUF reaches a terminal: without anything that
a terminal would act on.

What is taken out, and why: control characters (C0 but tab and newline, DEL, C1), since a terminal
obeys them; marks, embeddings, overrides and isolates of direction, since they make text read
otherwise than it is, and terminals order right-to-left writing without them; characters that nobody
sees (tags, variation selectors of ideographs, zero-width space and joiner of words, byte order
marks, invisible operators, soft hyphens, annotation marks), since they hide text in what is copied
and break what a terminal knows of widths.

What stays though it is invisible: U+200D, which joins emoji into one and shapes Indic and Arabic
letters, U+200C, without which Persian is misspelled, and the selectors that make an emoji of a
sign. None of the three moves anything or can carry more than itself.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

ENCODABLE = (
    "dslocal.encodable"  # for a stream's ``errors``: :func:`encodable` for what it cannot encode
)

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # directions
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u00ad\u180e\u200b\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"  # invisible
)

_SPELLED = {
    **dict(zip("─━│┃┌┐└┘├┤┬┴┼▌•◦▪‐‑‒–—―−", "--||+++++++++|*o+-------", strict=True)),
    **dict(zip("⎛⎜⎝⎞⎟⎠⎡⎢⎣⎤⎥⎦⎧⎨⎩⎪⎫⎬⎭║‖∣", "/|\\\\|/[[[]]]{{{|}}}|||", strict=True)),
    **dict(zip("‘’‚‛“”„′″⟨⟩∗⋆∼∖⋅·×÷∶⁄", "''''\"\"\"'\"<>**~\\**x/:/", strict=True)),
    "…": "...", "⋯": "...", "☐": "[ ]", "☑": "[x]", "✓": "v", "✔": "v", "✗": "x", "✘": "x", "⟦": "[[", "⟧": "]]", "√": "sqrt",
    "∛": "cbrt", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~=", "≡": "==", "±": "+-", "∓": "-+", "→": "->", "←": "<-", "↔": "<->",
    "⇒": "=>", "⇐": "<=", "⇔": "<=>", "⟹": "==>", "⟸": "<==", "⟺": "<=>", "⟶": "-->", "↦": "|->", "∞": "inf", "∑": "sum",
    "∏": "prod", "∫": "int", "∂": "d", "∇": "grad ", "∈": " in ", "∉": " not in ", "∀": "for all ", "∃": "exists ", "∅": "{}",
    "∪": " u ", "∩": " n ", "∧": "and", "∨": "or", "¬": "not ", "°": " deg", "€": "EUR", "£": "GBP", "©": "(c)", "®": "(R)",
    "™": "(TM)", "«": "<<", "»": ">>", "∴": "therefore", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon",
    "ζ": "zeta", "η": "eta", "θ": "theta", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda",
    "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l",
    "ı": "i", "Æ": "AE", "Ø": "O", "Œ": "OE", "Ł": "L", "⊂": " sub ", "⊆": " sub= ", "∥": "||", "⊥": "_|_",
}  # fmt: skip


def sanitise(text: str) -> str:
    """``text`` without control characters, direction overrides and what nobody sees; lone
    surrogates become question marks.

    Looks at one character at a time: the same comes out however a text is cut.
    """
    return _UNSAFE.sub("", text).encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int = 400) -> str:
    """``text`` for a message: one line, at most ``limit`` characters."""
    line = " ".join(sanitise(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def encodable(text: str, encoding: str) -> str:
    """``text`` in characters that ``encoding`` has: others are spelled (→ as ->, é as e, x² as
    x^2), or question marks.
    """
    if text.isascii() or encoding.lower().replace("-", "").replace("_", "") in (
        "utf8",
        "utf16",
        "utf32",
        "utf8sig",
        "gb18030",
    ):
        return text
    return "".join(_encodable(character, encoding) for character in text)


@lru_cache(4096)
def _encodable(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        pass
    else:
        return character
    if character in _SPELLED:
        return "".join(c if c.isascii() else _encodable(c, encoding) for c in _SPELLED[character])
    if unicodedata.combining(character) or character in "\u200c\u200d\ufe0e\ufe0f":
        return ""
    plain = unicodedata.normalize("NFKD", character)
    raised = {"<super>": "^", "<sub>": "_"}.get(
        unicodedata.decomposition(character).partition(" ")[0], ""
    )
    if plain != character:
        return raised + "".join(_encodable(c, encoding) for c in plain)
    return "?" * max(1, 1 + (unicodedata.east_asian_width(character) == "W"))


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What to write in place of what a stream's encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].encode("utf-8", "replace").decode("utf-8")
    return encodable(lacking, error.encoding), error.end


codecs.register_error(ENCODABLE, _spelled)
