"""Conversations for the chat page: one with everything that Markdown has, one that attacks it."""

from __future__ import annotations

from pathlib import Path

from dslocal.prompts import Message, ToolCall

FOLDER = Path(__file__).parents[2] / "server" / "page_browser"
ANSWER = (FOLDER / "rich.md").read_text()
ATTACKS = (FOLDER / "hostile.md").read_text()


RICH = [
    Message("user", "Show me what Markdown can do, please: code, formulas, tables and lists."),
    Message(
        "assistant",
        ANSWER,
        reasoning="The user wants to see *everything*.\n\nSo $x^2$, code and a table.",
        reasoning_s=12.4,
    ),
    Message("user", "And in two sentences?"),
    Message(
        "assistant",
        "Markdown marks up text with a few characters. This page draws it.",
        reasoning="Two sentences.",
        reasoning_s=0.8,
    ),
]

HOSTILE = [
    Message("user", "<img src=x onerror=window.hostile=23> <script>window.hostile=24</script>"),
    Message(
        "assistant",
        ATTACKS,
        reasoning=ATTACKS,
        calls=(ToolCall("<img src=x onerror=window.hostile=25>", '{"a": "<script>"}'),),
    ),
]
