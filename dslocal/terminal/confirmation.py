"""Questions on a terminal that are answered with y or n."""

from __future__ import annotations

import sys
from typing import TextIO


def is_confirmed(question: str, *, out: TextIO | None = None) -> bool:
    """Return whether the answer on standard input is yes; its end, Ctrl-D, is a no.

    Args:
        question: What is asked.
        out: Where it is asked; stdout unless given.
    """
    shown = out or sys.stdout
    print(f"{question} [y/N] ", end="", file=shown, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=shown)
    return answer.strip().lower() in ("y", "yes")
