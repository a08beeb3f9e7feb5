"""Normalize what people write in many ways: full-width digits, LaTeX, thousands, units.

Changes text only, and does not know what it means.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 1000  # characters of an answer that is looked into; a longer one is compared as it is

_SIGNS = {
    "−": "-",
    "–": "-",
    "×": "\\times ",
    "÷": "/",
    "·": "\\cdot ",
    "⋅": "\\cdot ",
    "∗": "*",
    "⁄": "/",
    "√": "\\sqrt ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "∈": "\\in ",
    "∪": "\\cup ",
    "∅": "\\emptyset ",
    "±": "\\pm ",
    "≈": "\\approx ",
    "°": "^\\circ ",
}
_PUNCTUATION = {
    "。": ".",
    "、": ",",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "⟨": "(",
    "⟩": ")",
    "【": "[",
    "】": "]",
    "\xa0": " ",
    "\u3000": " ",
    "¥": "¥",
}
_CHARACTERS = str.maketrans(_SIGNS | _PUNCTUATION)
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n", strict=True))
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+")
_VULGAR_FRACTION = re.compile("[¼-¾⅐-⅞]")
_LATEX_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!;: ])\s*(?=\d{3}(?!\d))")
_THOUSANDS = (
    re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])"),
    re.compile(r"(?<![\d.,\s])\d{1,3}(?: \d{3})+(?![\d/])(?! \d)"),
)
_OPENING = ("(", "[", "\\{")
_CLOSING = (")", "]", "\\}")
_TEXT_COMMANDS = (
    "text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathbb|mathcal|mathit|bf|rm|mbox|boldsymbol"
    r"|operatorname\*?"
)
_WRAPPED = re.compile(rf"\\(?:{_TEXT_COMMANDS})\s*\{{([^{{}}\\]*)\}}")
_LAYOUT_COMMANDS = (
    "displaystyle|textstyle|limits|left|right|middle|[bB]igg?[lrm]?|quad|qquad|hfill|bf|rm|it"
)
_DROPPED = re.compile(rf"\\(?:{_LAYOUT_COMMANDS})(?![A-Za-z])\.?")
_SAME = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:[dt])binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\(?:neq)(?![A-Za-z])"), r"\\ne "),
    (re.compile(r"\\l?[vV]ert(?![A-Za-z])|\\rvert(?![A-Za-z])"), "|"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\\(?:lt)(?![A-Za-z])"), "<"),
    (re.compile(r"\\(?:gt)(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:degree)(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\s*\bpercent\b"), "%"),
    (re.compile(r"(?<!\\)\\[,;:! ]|~"), " "),
    (re.compile(r"\s+"), " "),
)

# the names of units by the spelling that is kept
_UNITS = {
    "mm": "millimeter millimetre 毫米",
    "cm": "centimeter centimetre 厘米 公分",
    "m": "meter metre 米",
    "km": "kilometer kilometre 千米 公里",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard",
    "mi": "mile",
    "mph": "",
    "g": "gram gramme 克",
    "kg": "kilogram 千克 公斤",
    "lb": "pound",
    "oz": "ounce",
    "mol": "",
    "K": "kelvin",
    "mL": "ml milliliter millilitre 毫升",
    "L": "l liter litre 升",
    "N": "newton",
    "J": "joule",
    "W": "watt",
    "Hz": "hertz",
    "s": "sec second 秒",
    "min": "minute 分钟",
    "h": "hr hour 小时",
    "day": "天 日",
    "week": "周",
    "month": "月",
    "year": "yr 年 岁",
    "dollar": "usd",
    "cent": "¢",
    "yuan": "元 rmb",
    "euro": "eur 欧元",
    "degree": "deg 度",
    "rad": "radian",
    "unit": "",
}
_CANONICAL = {
    spelling: unit
    for unit, names in _UNITS.items()
    for name in [unit, *names.split()]
    for spelling in (name, f"{name}s")
}
_CURRENCIES = {
    "\\$": "dollar",
    "$": "dollar",
    "US$": "dollar",
    "USD": "dollar",
    "€": "euro",
    "£": "pound sterling",
    "¥": "yuan",
}
_CURRENCY = re.compile(r"([-+]?)\s*(US\\?\$|\\?\$|USD|€|£|¥)\s*(?=[-+\d.\\])")
_CURRENCY_BEHIND = re.compile(r"(.*\d)\s*(?:\\?\$|€|£|¥)")
_DEGREES = re.compile(r"(.*\S)\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})\s*([CF]?)")
# 5 km, 5 square feet, 5 km/h, 5 m^2
_UNIT = re.compile(
    r"""
    (?P<value>.*?(?:[\d)}\]!]\s*|\s))
    (?P<power>square[ ]|cubic[ ]|sq\.?[ ])?
    (?P<name>[A-Za-z]{1,12}|[一-鿿]{1,4})
    (?P<rate>\s*(?:/|per[ ])\s*[A-Za-z]{1,12})?
    (?:\s*\^\s*\{?(?P<exponent>-?\d)\}?)?
    """,
    re.VERBOSE,
)
# 5 apples, \frac34 cups, 5个
_COUNTED = re.compile(
    r"""
    (?P<value>.*[\d)}\]])
    (?:
      \s+(?!(?:sin|cos|tan|cot|sec|csc|log|exp|sqrt|gcd|lcm|max|arc[a-z]+)\b)
      (?P<name>[A-Za-z]{3,20}(?:[ ][A-Za-z]{2,20}){0,2})
    | \s*(?P<count>[一-鿿]{1,4})
    )
    """,
    re.VERBOSE,
)
_BASE = re.compile(r"(\d+)_\s*(?:(\d{1,2})|\{\s*(\d{1,2})\s*\})")
_POWERS = {"s": "2", "c": "3"}  # square, cubic


def normalize(text: str) -> str:
    """Return ``text`` in its plainest spelling, without what only changes how it looks.

    Long text is only stripped.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return text
    text = _SUPERSCRIPT.sub(lambda m: "^{" + "".join(_SUPERSCRIPTS[c] for c in m[0]) + "}", text)
    text = _VULGAR_FRACTION.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    if len(text) > MAX_LENGTH:
        return text
    text = _LATEX_THOUSANDS.sub("", _without_dollars(text))
    for _ in range(4):  # as deep as commands are found in each other
        before = text
        text = _WRAPPED.sub(r" \1 ", text)
        if text == before:
            break
    text = _DROPPED.sub(" ", text)
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    return _without_punctuation(text)


def without_thousands(text: str) -> str:
    """Return ``text`` with 1,000 and 1 000 as 1000.

    In brackets and in sets it stays as it is: there a comma separates items.
    """

    def joined(m: re.Match[str]) -> str:
        before = text[: m.start()]
        is_inside = sum(map(before.count, _OPENING)) > sum(map(before.count, _CLOSING))
        return m[0] if is_inside else re.sub(r"[ ,]", "", m[0])

    for pattern in _THOUSANDS:
        text = pattern.sub(joined, text)
    return text


def split_unit(text: str) -> tuple[str, str]:
    """Return the value and its unit, which is empty where there is none.

    A unit stands behind the value, a currency also before it.
    """
    if m := _CURRENCY.match(text):
        return m[1] + text[m.end() :], _CURRENCIES[m[2].replace("\\", "")]
    if m := _CURRENCY_BEHIND.fullmatch(text):
        return m[1], _CURRENCIES[text[-1]]
    if m := _BASE.fullmatch(text):
        base = m[2] or m[3]
        return m[1], "" if base == "10" else f"base {base}"
    if m := _DEGREES.fullmatch(text):
        return m[1], f"degree {m[2]}".strip()
    m = _UNIT.fullmatch(text)
    if m and m["value"].strip():
        unit = _unit(m)
        if unit:
            return m["value"].strip(), unit
    if m := _COUNTED.fullmatch(text):
        return m["value"], (m["name"] or m["count"]).casefold().rstrip("s")
    return text, ""


def _unit(match: re.Match[str]) -> str:
    """Return the unit in its kept spelling, such as ``km/h`` or ``m^2``; empty for none."""
    name = match["name"]
    if len(name) == 1 and name.isascii() and not match["value"][-1:].isspace():
        return ""  # 5m is a product, 5 m a length
    unit = _CANONICAL.get(name) or _CANONICAL.get(name.casefold() if len(name) > 2 else name)
    if not unit:
        return ""
    power = _POWERS[match["power"][0]] if match["power"] else match["exponent"]
    if match["rate"]:
        rate = re.sub(r"\s*(?:/|per )\s*", "", match["rate"])
        unit += f"/{_CANONICAL.get(rate, rate)}"
    return f"{unit}^{power}" if power else unit


def _without_dollars(text: str) -> str:
    r"""Return ``text`` without the dollar signs that delimit formulas: those in pairs, not \$."""
    dollars = len(re.findall(r"(?<!\\)\$", text))
    if dollars == 1:
        return text
    if dollars % 2:
        return text.replace("$$", "")
    return re.sub(r"(?<!\\)\$", "", text)


def _without_punctuation(text: str) -> str:
    """Return ``text`` without formula delimiters around it and punctuation at its end."""
    text = text.strip(' "`')
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(opening) and text.endswith(closing):
            text = text[2:-2]
    text = re.sub(r"(?<=[^\W\d_]{2})!$", "", text.rstrip())  # yes!, but not 5! and n!
    return re.sub(r"(?<!\\)[.,;:?\s]+$", "", text).strip()
