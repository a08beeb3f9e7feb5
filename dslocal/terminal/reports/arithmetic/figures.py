"""Rows of arithmetic, and the figures in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from dslocal.terminal.reports.plain_console import print_titled

TITLE_WIDTH = 11  # cells of a row's title
DIGITS = 4  # significant ones of a figure
Row = tuple[str, str]  # a title, empty for a heading, and a text


def print_rows(console: Console, rows: Iterable[Row]) -> None:
    """Print rows, with titles and texts below each other; a text without a title heads others."""
    for is_heading, group in itertools.groupby(rows, key=lambda row: not row[0]):
        if is_heading:
            for _, text in group:
                console.print(Text(text))
        else:
            print_titled(
                console, [(f"  {title}".ljust(TITLE_WIDTH), text) for title, text in group]
            )


def figure(value: float) -> str:
    """Return a number with four significant digits, or all those before the point."""
    if not value:
        return "0"
    exponent = int(f"{value:.{DIGITS - 1}e}".partition("e")[2])
    return f"{value:,.{max(0, DIGITS - 1 - exponent)}f}"


def mb(nbytes: float) -> str:
    """Return bytes in megabytes."""
    return f"{figure(nbytes / 1e6)} MB"


def gbs(bytes_per_s: float) -> str:
    """Return bytes a second in gigabytes a second."""
    return f"{figure(bytes_per_s / 1e9)} GB/s"


def ms(seconds: float) -> str:
    """Return seconds in milliseconds."""
    return f"{figure(1000 * seconds)} ms"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{figure(100 * share)} %"


def tokens_per_second(tokens_per_s: float) -> str:
    """Return a speed with its unit."""
    return f"{figure(tokens_per_s)} tokens/s"


def sum_of(weights: Iterable[float], kv: float, more: str = "") -> str:
    """Return a sum of megabytes, in parentheses where it has several terms."""
    terms = [mb(nbytes) for nbytes in weights if nbytes]
    terms += [more] if more else []
    terms += [f"{mb(kv)} of KV cache"] if kv else []
    return terms[0] if len(terms) == 1 and "×" not in terms[0] else f"({' + '.join(terms)})"
