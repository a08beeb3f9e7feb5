"""The line below the input: model, context, speed, drafts and memory.

Where the terminal is narrow, the least important parts are left out first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from dslocal import chat
from dslocal.files import binary_size

APART = "  ·  "


class ToolbarPart(NamedTuple):
    """A part of the toolbar; ``rank`` 0 is the most important."""

    rank: int
    text: str


def toolbar_parts(
    session: chat.Session, name: str, files: int, *, used: int, is_editing: bool = False
) -> list[ToolbarPart]:
    """Return what can be shown, in order.

    Args:
        session: The conversation.
        name: What the model is called, on one line.
        files: How many files go with the next question.
        used: How many tokens of the context the conversation takes.
        is_editing: Whether the last question is being edited.
    """
    turn = session.turn
    size = session.context.n_ctx
    parts = [ToolbarPart(0, name), ToolbarPart(1, f"context {used:,} of {size:,}")]
    if is_editing:
        parts.append(ToolbarPart(2, "editing the last question"))
    if session.is_unfinished:
        parts.append(ToolbarPart(3, "answer cut: /continue"))
    if turn and turn.tokens_per_s:
        parts.append(ToolbarPart(5, f"{turn.tokens_per_s:,.0f} tokens/s"))
    if turn and turn.drafted_tokens:
        parts.append(ToolbarPart(6, f"drafts {turn.accepted_tokens:,}/{turn.drafted_tokens:,}"))
    if memory := resident_bytes():
        parts.append(ToolbarPart(7, binary_size(memory, gib_from=10 << 30)))
    if files:
        parts.append(ToolbarPart(2, f"{files} file{'s' if files > 1 else ''} attached"))
    if session.thinking and session.thinking is not session.family.default_thinking:
        parts.append(ToolbarPart(4, f"thinking {session.thinking.value}"))
    elif session.family.efforts:
        parts.append(ToolbarPart(4, f"effort {session.family.default_effort}"))
    return parts


def fit_parts(parts: Sequence[ToolbarPart], width: int) -> str:
    """Return as many parts as fit into ``width`` cells; the most important one is cut to fit."""
    kept = list(parts)
    while len(kept) > 1 and cell_len(APART.join(part.text for part in kept)) > width:
        kept.remove(max(kept, key=lambda part: part.rank))
    line = APART.join(part.text for part in kept)
    return line if cell_len(line) <= width else set_cell_size(line, max(width, 0))


def resident_bytes() -> int:
    """Return the memory of this process, or its peak where only that is known; 0 for unknown."""
    try:
        resident_pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return resident_pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
