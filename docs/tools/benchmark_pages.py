"""Put recorded figures into the pages of benchmarks.

A file of docs/benchmarks/data holds what was measured, when, where and with which command, and a
page asks for its parts: ``<!-- about: NAME -->`` and ``<!-- table: NAME/TABLE -->``.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "benchmarks" / "data"
REQUIRED = ("date", "machine", "command", "versions", "origin", "not_measured")
TITLES = {
    "date": "Date",
    "machine": "Machine",
    "command": "Command",
    "versions": "Versions",
    "origin": "Origin of the figures",
    "not_measured": "Not measured",
}
ABOUT = re.compile(r"<!-- about: ([\w-]+) -->")
TABLE = re.compile(r"<!-- table: ([\w-]+)/([\w-]+) -->")


@cache
def recorded(name: str) -> dict[str, Any]:
    """Return the content of a data file.

    Raises:
        ValueError: If it lacks a key that every record has.
    """
    content = tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))
    missing = [key for key in REQUIRED if not content["about"].get(key)]
    if missing:
        raise ValueError(f"{name}.toml: about lacks {', '.join(missing)}")
    return content


def with_tables(markdown: str) -> str:
    """Return a page with its tables of recorded figures."""
    markdown = ABOUT.sub(lambda found: about(found[1]), markdown)
    return TABLE.sub(lambda found: table(found[1], found[2]), markdown)


def about(name: str) -> str:
    """Return where the figures of a data file come from, as a table."""
    record = recorded(name)["about"]
    rows = [f"| **{TITLES[key]}** | {_text(key, record[key])} |" for key in REQUIRED]
    return "\n".join([rows[0], "|---|---|", *rows[1:]])


def table(name: str, key: str) -> str:
    """Return a table of a data file as Markdown."""
    content = recorded(name)["tables"][key]
    columns = content["columns"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in content["rows"]:
        cells = [_number(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _text(key: str, value: Any) -> str:
    if key == "command":
        return "<br>".join(f"`{line}`" for line in value)
    return str(value)


def _number(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)
