"""What is inside a paragraph: emphasis, code, links with their addresses, mathematics as Unicode.

A dollar begins mathematics only where it cannot be money, a shell's variable or a slip: no letter
or digit before it, no space after it, no space before its partner and no letter or digit after
that, and what is between looks like a formula. Code is left alone, and so is a dollar behind a
backslash. A link shows its address behind its text where they differ; no OSC 8 is ever sent. HTML
is shown as it is written, except for ``<br>``.

Knows no blocks and no widths.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from rich.style import Style

from dslocal.terminal.sanitise import sanitise
from dslocal.terminal.tex import to_unicode
from dslocal.terminal.tex.boxes import BOXED, END_BOXED
from dslocal.terminal.wrapping import Line, Run

STYLES = {
    "strong": Style(bold=True),
    "em": Style(italic=True),
    "s": Style(strike=True),
    "code": Style(color="cyan"),
    "link": Style(underline=True),
    "address": Style(dim=True),
    "boxed": Style(bold=True, color="green"),
    "heading": Style(bold=True),
    "title": Style(bold=True, underline=True),
    "dim": Style(dim=True),
}
INLINE, DISPLAY = "inline", "display"  # markup of a token of mathematics
MAX_DOLLAR_FORMULA = 400  # characters between two single dollars
_ENVIRONMENT = re.compile(r"\\begin\{([a-zA-Z]+\*?)\}")
_MARKED = re.compile(f"{BOXED}(.*?){END_BOXED}", re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class DisplayMath:
    """A formula on lines of its own, as TeX."""

    source: str


@cache
def style_of(*names: str) -> Style:
    """Return the combination of named styles, the same object each time."""
    return Style.combine([STYLES[name] for name in names]) if names else Style()


def flow(text: str) -> list[Line | DisplayMath]:
    """Return a paragraph's source as runs of text, which may hold newlines, and formulas."""
    parts: list[Line | DisplayMath] = []
    runs: Line = []
    for item in _items(text):
        if isinstance(item, DisplayMath):
            if _has_text(runs):
                parts.append(_strip_edges(runs))
            parts.append(item)
            runs = []
        else:
            runs.append(item)
    if _has_text(runs):
        parts.append(_strip_edges(runs) if parts else runs)
    return parts


def runs_of(text: str) -> Line:
    """Return the source of a heading or a table's cell as runs, with formulas on the line."""
    runs: Line = []
    for item in _items(text):
        runs += _formula_runs(item.source, None) if isinstance(item, DisplayMath) else [item]
    return runs


def boxed_runs(text: str, style: Style | None = None) -> Line:
    """Return text of :mod:`dslocal.terminal.tex` as runs, with what is boxed in its own style."""
    parts = _MARKED.split(text)
    return [(part, style_of("boxed") if i % 2 else style) for i, part in enumerate(parts) if part]


def _has_text(runs: Line) -> bool:
    return any(text.strip() for text, _ in runs)


def _strip_edges(runs: Line) -> Line:
    """Return ``runs`` without line breaks at their edges, where a formula ends the line anyway."""
    stripped = list(runs)
    text, style = stripped[0]
    stripped[0] = (text.lstrip(" \n"), style)
    text, style = stripped[-1]
    stripped[-1] = (text.rstrip(" \n"), style)
    return stripped


_SPAN_STYLES = {"strong_open": "strong", "em_open": "em", "s_open": "s", "link_open": "link"}


def _items(text: str) -> list[Run | DisplayMath]:
    """Return markdown-it's inline tokens of ``text`` as runs and formulas."""
    items: list[Run | DisplayMath] = []
    styles: list[str] = []  # of the spans that are open
    links: list[tuple[str, int]] = []  # of those that are open: address, and where its text begins
    for token in _parser().parseInline(text)[0].children or []:
        style = style_of(*styles) if styles else None
        if token.nesting > 0:
            styles.append(_SPAN_STYLES.get(token.type, "link"))
            if token.type == "link_open":
                links.append((str(token.attrs.get("href", "")), len(items)))
        elif token.nesting < 0:
            styles.pop()
            if token.type == "link_close":
                address, start = links.pop()
                items += _address_runs(address, items[start:])
        elif token.type == "math" and token.markup == DISPLAY:
            items.append(DisplayMath(token.content))
        elif token.type == "math":
            items += _formula_runs(token.content, style)
        else:
            items += _token_runs(token, styles, style)
    return items


def _token_runs(token: Token, styles: Sequence[str], style: Style | None) -> Line:
    """Return the runs of a token that is neither a span nor mathematics."""
    match token.type:
        case "softbreak" | "hardbreak":
            return [("\n", style)]
        case "code_inline":
            return [(sanitise(token.content), style_of(*styles, "code"))]
        case "image":
            return [
                (sanitise(f"{token.content} "), style_of(*styles, "link")),
                (sanitise(f"({token.attrs['src']})"), style_of("address")),
            ]
        case "html_inline":
            if _BREAK.fullmatch(token.content):
                return [("\n", style)]
            return [(sanitise(token.content), style_of(*styles, "dim"))]
    return [(sanitise(token.content), style)] if token.content else []


def _address_runs(address: str, link_text: Sequence[Run | DisplayMath]) -> Line:
    """Return the address that is shown behind a link's text, if it says something else."""
    shown = "".join(item[0] for item in link_text if not isinstance(item, DisplayMath))
    address = sanitise(address)
    without_scheme = re.sub(r"^(?:mailto:|https?://)", "", address)
    if not address or shown.rstrip("/") in (address.rstrip("/"), without_scheme.rstrip("/")):
        return []
    return [(f" ({address})", style_of("address"))]


def _formula_runs(source: str, style: Style | None) -> Line:
    return boxed_runs(to_unicode.inline(source), style)


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("strikethrough")
    parser.inline.ruler.before("escape", "math", _mathematics_rule)
    # An address is shown, never followed: it stays as it was written.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return parser


# Mathematics


class _Formula(NamedTuple):
    """A formula that was found: its TeX, where it ends, and whether it has lines of its own."""

    source: str
    end: int
    is_display: bool


def _mathematics_rule(state: StateInline, silent: bool) -> bool:
    """Take a formula at the parser's place, if there is one: a rule of markdown-it."""
    mark = state.src[state.pos]
    if mark not in "$\\":
        return False
    find = _dollar_formula if mark == "$" else _backslash_formula
    found = find(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = found.source
        token.markup = DISPLAY if found.is_display else INLINE
    state.pos = found.end
    return True


def _dollar_formula(text: str, start: int) -> _Formula | None:
    """Return the formula that a dollar at ``start`` begins, if it does."""
    if text.startswith("$$", start):
        return _between(text, start + 2, "$$", is_display=True)
    before, after = text[start - 1 : start], text[start + 1 : start + 2]
    if not after or after.isspace() or before == "$" or _is_ascii_alphanumeric(before):
        return None
    end = _closing_dollar(text, start + 1)
    if end < 0:
        return None
    source, following = text[start + 1 : end], text[end + 1 : end + 2]
    if text[end - 1].isspace() or following == "$" or _is_ascii_alphanumeric(following):
        return None
    return _Formula(source, end + 1, False) if _looks_like_formula(source) else None


def _closing_dollar(text: str, start: int) -> int:
    """Return where the first dollar without a backslash before it is; -1 for nowhere."""
    end = text.find("$", start)
    while end > 0 and text[end - 1] == "\\":
        end = text.find("$", end + 1)
    return end


def _is_ascii_alphanumeric(text: str) -> bool:
    return text.isascii() and text.isalnum()


def _looks_like_formula(source: str) -> bool:
    if "`" in source or len(source) > MAX_DOLLAR_FORMULA:
        return False
    if "\\" in source:
        return True
    if source[0].isdigit() and " " in source:  # perhaps an amount, and words about it
        return not _WORD.search(source)
    return len(_PLAIN_WORD.findall(source)) < 2


def _backslash_formula(text: str, start: int) -> _Formula | None:
    """Return the formula that a command of TeX at ``start`` begins, if it does."""
    if text.startswith("\\(", start):
        return _between(text, start + 2, "\\)", is_display=False)
    if text.startswith("\\[", start):
        return _between(text, start + 2, "\\]", is_display=True)
    if environment := _ENVIRONMENT.match(text, start):
        return _environment_formula(text, start, environment[1])
    for command in ("\\boxed{", "\\fbox{"):
        if text.startswith(command, start):
            end = _group_end(text, start + len(command))
            if end:
                is_alone = _stands_alone(text, start, end)
                return _Formula(text[start:end], end, is_alone)
    return None


def _between(text: str, start: int, closer: str, *, is_display: bool) -> _Formula | None:
    """Return the formula from ``start`` to ``closer``; None where there is none, or it is blank."""
    end = text.find(closer, start)
    if end < 0 or not text[start:end].strip():
        return None
    return _Formula(text[start:end], end + len(closer), is_display)


def _environment_formula(text: str, start: int, name: str) -> _Formula | None:
    """Return the formula from ``\\begin{name}`` at ``start`` to its end."""
    closer = f"\\end{{{name}}}"
    closer_start = text.find(closer, start)
    if closer_start < 0:
        return None
    end = closer_start + len(closer)
    return _Formula(text[start:end], end, True)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a line has nothing but what is from ``start`` to ``end``, and a full stop."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    after = text[end:].partition("\n")[0]
    return not before.strip() and not after.strip(" .*")


def _group_end(text: str, start: int) -> int:
    """Return where the group ends whose brace was opened before ``start``; 0 if it does not."""
    depth = 1
    for i in range(start, len(text)):
        if text[i - 1] == "\\":
            continue
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
        if depth == 0:
            return i + 1
    return 0
