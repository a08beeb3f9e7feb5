"""The console that reports are printed on."""

from __future__ import annotations

from rich.console import Console


def plain_console() -> Console:
    """Return a console for stdout that prints text as it is: no markup, emoji or highlights."""
    return Console(highlight=False, markup=False, emoji=False)
