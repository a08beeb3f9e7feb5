"""What stands below the input: model, context, speed, drafts, memory. Where the terminal is narrow,
the least important goes first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from dslocal import chat
from dslocal.files import binary_size

APART = "  ·  "


def toolbar_parts(
    session: chat.Session, name: str, files: int, *, editing: bool = False
) -> list[tuple[int, str]]:
    """What there is to say, in order, each with its importance, 0 the most. ``name`` is one line
    already.
    """
    turn, used = session.turn, len(session.context.ids)
    found = [(0, name), (1, f"context {used:,} of {session.context.n_ctx:,}")]
    if editing:
        found.append((2, "editing the last question"))
    if session.is_unfinished:
        found.append((3, "answer cut: /continue"))
    if turn and turn.tokens_per_s:
        found.append((5, f"{turn.tokens_per_s:,.0f} tokens/s"))
    if turn and turn.drafted_tokens:
        found.append((6, f"drafts {turn.accepted_tokens:,}/{turn.drafted_tokens:,}"))
    if memory := resident_bytes():
        found.append(
            (
                7,
                binary_size(memory, gib_from=10 << 30),
            )
        )
    if files:
        found.append((2, f"{files} file{'s' if files > 1 else ''} attached"))
    if session.thinking and session.thinking is not session.family.default_thinking:
        found.append((4, f"thinking {session.thinking.value}"))
    return found


def fit_parts(found: Sequence[tuple[int, str]], width: int) -> str:
    """As much of ``found`` as goes into ``width`` cells, the most important always, cut if it must
    be.
    """
    kept = list(found)
    while len(kept) > 1 and cell_len(APART.join(text for _, text in kept)) > width:
        kept.remove(max(kept, key=lambda part: part[0]))
    line = APART.join(text for _, text in kept)
    return line if cell_len(line) <= width else set_cell_size(line, max(width, 0))


def resident_bytes() -> int:
    """Bytes of memory that this process has now, or had at the most where only that is known; 0
    where nothing is.
    """
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
