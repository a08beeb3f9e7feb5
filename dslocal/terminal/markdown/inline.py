"""What is inside a paragraph: emphasis, code, links with their addresses, mathematics as Unicode.
Knows no blocks and no widths.

A dollar begins mathematics only where it cannot be money, a shell's variable or a slip: no letter
or digit before it, no space after it, no space before its partner and no letter or digit after
that, and what is between looks like a formula. Code is left alone, and so is a dollar behind a
backslash. Links show their address behind their text when it differs; no OSC 8 is ever sent. HTML
is shown as it is written, but for ``<br>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

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
_ENVIRONMENT = re.compile(r"\\begin\{([a-zA-Z]+\*?)\}")
_MARKED = re.compile(f"{BOXED}(.*?){END_BOXED}", re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class DisplayMath:
    """A formula on lines of its own."""

    source: str


@cache
def style_of(*names: str) -> Style:
    """One style of several, the same object each time."""
    return Style.combine([STYLES[name] for name in names]) if names else Style()


def flow(text: str) -> list[Line | DisplayMath]:
    """``text``, the source of a paragraph, as runs of text (newlines in them) and formulas between
    those.
    """
    parts: list[Line | DisplayMath] = []
    runs: Line = []
    for item in _items(text):
        if isinstance(item, DisplayMath):
            if any(part.strip() for part, _ in runs):
                parts.append(_trimmed(runs))
            parts.append(item)
            runs = []
        else:
            runs.append(item)
    if any(part.strip() for part, _ in runs):
        parts.append(_trimmed(runs) if parts else runs)
    return parts


def runs_of(text: str) -> Line:
    """``text``, the source of a heading or a cell, as runs; formulas on the line."""
    return [
        run
        for item in _items(text)
        for run in (_formula(item.source, None) if isinstance(item, DisplayMath) else [item])
    ]


def _trimmed(runs: Line) -> Line:
    """``runs`` without line breaks at their edges, where a formula has ended the line already."""
    first, last = runs[0], runs[-1]
    runs = [(first[0].lstrip(" \n"), first[1]), *runs[1:]]
    last = runs[-1]
    return [*runs[:-1], (last[0].rstrip(" \n"), last[1])]


def _items(text: str) -> list[Run | DisplayMath]:
    items: list[Run | DisplayMath] = []
    names: list[str] = []
    links: list[tuple[str, int]] = []
    for token in _parser().parseInline(text)[0].children or []:
        style = style_of(*names) if names else None
        if token.nesting > 0:
            names.append(
                {"strong_open": "strong", "em_open": "em", "s_open": "s"}.get(token.type, "link")
            )
            if token.type == "link_open":
                links.append((str(token.attrs.get("href", "")), len(items)))
        elif token.nesting < 0:
            names.pop()
            if token.type == "link_close":
                items += _address(*links.pop(), items)
        elif token.type == "math":
            items += (
                [DisplayMath(token.content)]
                if token.markup == "display"
                else _formula(token.content, style)
            )
        else:
            items += _leaf(token, names, style)
    return items


def _leaf(token: Token, names: list[str], style: Style | None) -> list[Run]:
    if token.type in ("softbreak", "hardbreak"):
        return [("\n", style)]
    if token.type == "code_inline":
        return [(sanitise(token.content), style_of(*names, "code"))]
    if token.type == "image":
        return [
            (sanitise(f"{token.content} "), style_of(*names, "link")),
            (sanitise(f"({token.attrs['src']})"), style_of("address")),
        ]
    if token.type == "html_inline":
        return [
            ("\n", style)
            if _BREAK.fullmatch(token.content)
            else (sanitise(token.content), style_of(*names, "dim"))
        ]
    return [(sanitise(token.content), style)] if token.content else []


def _address(href: str, start: int, items: Iterable[Run | DisplayMath]) -> list[Run]:
    """The address behind a link's text, if that says something else."""
    shown = "".join(item[0] for item in list(items)[start:] if not isinstance(item, DisplayMath))
    href = sanitise(href)
    if not href or shown.rstrip("/") in (
        href.rstrip("/"),
        re.sub(r"^(?:mailto:|https?://)", "", href).rstrip("/"),
    ):
        return []
    return [(f" ({href})", style_of("address"))]


def _formula(source: str, style: Style | None) -> list[Run]:
    return boxed_apart(to_unicode.inline(source), style)


def boxed_apart(text: str, style: Style | None = None) -> list[Run]:
    """``text`` of :mod:`tex` as runs, what is boxed in a style of its own."""
    parts = _MARKED.split(text)
    return [(part, style_of("boxed") if i % 2 else style) for i, part in enumerate(parts) if part]


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("strikethrough")
    parser.inline.ruler.before("escape", "math", _mathematics)
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]  # an address is shown, not followed: as it was written
    return parser


def _mathematics(state: StateInline, silent: bool) -> bool:
    """Takes a formula at the parser's place, if there is one."""
    source, at = state.src, state.pos
    if source[at] not in "$\\":
        return False
    found = _dollars(source, at) if source[at] == "$" else _backslashes(source, at)
    if found is None:
        return False
    content, end, shown = found
    if not silent:
        token = state.push("math", "", 0)
        token.content, token.markup = content, shown
    state.pos = end
    return True


def _dollars(source: str, at: int) -> tuple[str, int, str] | None:
    if source.startswith("$$", at):
        end = source.find("$$", at + 2)
        return (
            (source[at + 2 : end], end + 2, "display")
            if end > at + 2 and source[at + 2 : end].strip()
            else None
        )
    before, after = source[at - 1 : at], source[at + 1 : at + 2]
    if not after or after.isspace() or (before.isascii() and before.isalnum()) or before == "$":
        return None
    end = at + 1
    while (end := source.find("$", end)) > 0:
        if source[end - 1] == "\\":
            end += 1
            continue
        content, following = source[at + 1 : end], source[end + 1 : end + 2]
        fits = not source[end - 1].isspace() and not (
            following.isascii() and (following.isalnum() or following == "$")
        )
        return (content, end + 1, "inline") if fits and _looks_like_formula(content) else None
    return None


def _looks_like_formula(content: str) -> bool:
    if "`" in content or len(content) > 400:
        return False
    if "\\" in content:
        return True
    if content[0].isdigit() and " " in content:  # an amount, and words about it
        return not _WORD.search(content)
    return len(_PLAIN_WORD.findall(content)) < 2


def _backslashes(source: str, at: int) -> tuple[str, int, str] | None:
    pair = source[at : at + 2]
    if pair in ("\\(", "\\["):
        end = source.find("\\)" if pair == "\\(" else "\\]", at + 2)
        fits = end > at + 2 and source[at + 2 : end].strip()
        return (
            (source[at + 2 : end], end + 2, "inline" if pair == "\\(" else "display")
            if fits
            else None
        )
    if environment := _ENVIRONMENT.match(source, at):
        closer = f"\\end{{{environment[1]}}}"
        end = source.find(closer, at) + len(closer)
        return (
            (source[at:end], end, "display")
            if end > at and source[end - 1] == "}" and end >= at + 2 * len(closer)
            else None
        )
    for name in ("\\boxed{", "\\fbox{"):
        if source.startswith(name, at) and (end := _group_end(source, at + len(name))):
            alone = not source[source.rfind("\n", 0, at) + 1 : at].strip() and not source[
                end:
            ].partition("\n")[0].strip(" .*")
            return source[at:end], end, "display" if alone else "inline"
    return None


def _group_end(source: str, at: int) -> int:
    """Where the group ends whose brace was opened before ``at``; 0 when it does not."""
    depth = 1
    for i in range(at, len(source)):
        depth += {"{": 1, "}": -1}.get(source[i], 0) if source[i - 1] != "\\" else 0
        if depth == 0:
            return i + 1
    return 0
