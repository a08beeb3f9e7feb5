"""What files say of things, and how people ask for it in their own words: ``concepts.txt``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("concepts.txt")


@dataclass(frozen=True)
class Concept:
    """One thing that a file may say.

    Attributes:
        keys: How files call it, in words.
        kind: What sort of value it has, of ``values.KINDS``.
        asked: Questions for it, most of which do not have the key.
    """

    keys: tuple[str, ...]
    kind: str
    asked: tuple[str, ...]


@cache
def concepts() -> tuple[Concept, ...]:
    found = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            keys, kind, asked = (part.strip() for part in line.split(" : "))
            questions = tuple(each.strip() for each in asked.split(";"))
            found.append(Concept(tuple(keys.split("/")), kind, questions))
    return tuple(found)
