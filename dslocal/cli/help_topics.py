"""The help topics: short texts that ship as Markdown files in dslocal/topics, one for each
topic."""

from __future__ import annotations

from dslocal.home.paths import bundled


def topic_names() -> list[str]:
    """Return the names of all topics, in alphabetical order."""
    return sorted(file.stem for file in bundled("topics").glob("*.md"))


def topic_text(name: str) -> str:
    """Return the Markdown of a topic."""
    return (bundled("topics") / f"{name}.md").read_text(encoding="utf-8")


def topic_title(name: str) -> str:
    """Return the first heading of a topic."""
    return topic_text(name).partition("\n")[0].lstrip("# ")
