"""Split the reasoning off an answer that a client sends back as one text.

R1's own chat template cuts an earlier answer at its closing tag, since the model never sees the
reasoning of earlier turns.
"""

from __future__ import annotations

from .families import Family


def split_reasoning(family: Family, text: str) -> tuple[str, str]:
    """Return the reasoning at the beginning of an answer, and what follows it.

    The block is ``<think>…</think>`` at the very beginning. Its opening tag may be missing where
    the closing one ends a line, as in the output of servers that do not split it: the prompt had
    opened it. Without a closing tag all is reasoning. Tags anywhere else are text.

    Args:
        family: Has the tags; without any, all is text.
        text: What the client sent as the answer.
    """
    if family.format.think is None:
        return "", text
    opening, closing = (tag.token for tag in family.format.think)
    stripped = text.lstrip()
    if stripped.startswith(opening):
        parts = stripped.removeprefix(opening).split(closing, 1)
        return parts[0].strip(), parts[-1].lstrip() if len(parts) > 1 else ""
    parts = text.split(closing, 1)
    if len(parts) < 2 or opening in parts[0]:
        return "", text
    is_own_line = parts[0].endswith("\n") and parts[1].startswith("\n")
    return (parts[0].strip(), parts[1].lstrip()) if is_own_line else ("", text)
