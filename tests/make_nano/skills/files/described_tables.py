"""Tables as people have them, written down in ``described_tables.txt``: phone lists, price lists.

The language of the file:

* ``== NAMES : NOUNS`` begins a table. NAMES are file names, ``*.csv`` any with that ending; NOUNS
  are what people call a row, separated by ``/``.
* The next line is the column by which people name a row: ``TITLES ~~ VALUE``.
* All others are ``TITLES ~~ VALUE ~~ QUESTIONS ~~ ROWS``. TITLES are ways to call the column,
  separated by ``/``; a VALUE is written as in ``samples``; QUESTIONS ask for the cell of the row
  ``{n}``; ROWS, which may be missing, ask for the row that has ``{v}``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("described_tables.txt")
LEFT_OUT = (0.0, 0.2, 0.4)  # shares of the columns


@dataclass(frozen=True)
class DescribedColumn:
    titles: tuple[str, ...]
    value: str
    asked: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescribedTable:
    """A table; its first column is that by which people name a row."""

    names: tuple[str, ...]
    nouns: tuple[str, ...]
    columns: tuple[DescribedColumn, ...]

    def some_columns(self, r: random.Random) -> list[DescribedColumn]:
        """Return the first column and most of the others."""
        share = r.choice(LEFT_OUT)
        first, *others = self.columns
        kept = [each for each in others if r.random() >= share]
        return [first, *(kept or [r.choice(others)])]


@cache
def described_tables() -> tuple[DescribedTable, ...]:
    parts = ("\n" + FILE.read_text(encoding="utf-8")).split("\n== ")[1:]
    return tuple(map(parsed, parts))


def parsed(text: str) -> DescribedTable:
    """Return the table that a part of the file describes."""
    header, *lines = (each for each in text.split("\n") if each and not each.startswith("#"))
    names, nouns = header.split(" : ")
    columns = []
    for line in lines:
        titles, value, *asked = (each.strip() for each in line.split("~~"))
        questions = [tuple(one.strip() for one in each.split(";")) for each in asked]
        columns.append(DescribedColumn(tuple(titles.split("/")), value, *questions))
    return DescribedTable(tuple(names.split()), tuple(nouns.strip().split("/")), tuple(columns))
