"""Read what documentation shows as code: its blocks, and the command lines in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?[ ]*\n'
    r"(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        file: The document, relative to the repository's root.
        line: The line of the document that it begins in.
        language: What the fence names, such as sh.
        title: The title above the block; empty where it has none.
        code: What stands in it, without the fence's indent.
    """

    file: str
    line: int
    language: str
    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def command_lines(self) -> list[str]:
        """Return the command lines of a shell block: continued lines joined, comments alone out."""
        joined = self.code.replace("\\\n", " ")
        lines = [line.strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def documents() -> list[Path]:
    """Return all documents that users and contributors read."""
    return [
        *sorted(ROOT.glob("*.md")),
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "dslocal" / "topics").glob("*.md")),
    ]


def blocks(file: Path) -> Iterator[Block]:
    """Yield the blocks of code of a document."""
    text = file.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent = found["indent"]
        code = "".join(
            line.removeprefix(indent) for line in found["code"].splitlines(keepends=True)
        )
        name = file.relative_to(ROOT).as_posix()
        line = text.count("\n", 0, found.start()) + 1
        yield Block(name, line, found["language"], found["title"] or "", code)
