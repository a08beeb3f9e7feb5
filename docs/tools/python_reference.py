"""Write the tables of names in the Python reference from the first lines of docstrings.

    python docs/tools/python_reference.py

A clone shows the tables; the site also shows the docstrings, by the directives below each table.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "reference" / "python.md"
HEAD = "| name | what it is |\n|---|---|"
_SECTION = re.compile(r"(?:(?:^\|.*\n)+\n)?((?:^::: \S+\n?)+)", re.MULTILINE)
_CROSS_REFERENCE = re.compile(r":\w+:`~?\.?([^`]+)`")


def with_tables(page: str) -> str:
    """Return the page with a table of names before the directives of each section."""

    def section(found: re.Match[str]) -> str:
        paths = re.findall(r"^::: (\S+)", found[1], re.MULTILINE)
        rows = [f"| `{path.rpartition('.')[2]}` | {_summary(path)} |" for path in paths]
        return "\n".join([HEAD, *rows, "", found[1]])

    return _SECTION.sub(section, page)


def _summary(path: str) -> str:
    """Return the first paragraph of an object's docstring, on one line."""
    module, _, name = path.rpartition(".")
    text = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    line = " ".join(text.split("\n\n")[0].split())
    return _CROSS_REFERENCE.sub(r"`\1`", line).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
