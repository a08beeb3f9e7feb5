"""Search conversations by what was said in them."""

from __future__ import annotations

from collections.abc import Iterator

from .storage import StoredConversation


def matching_line(stored: StoredConversation, text: str) -> str | None:
    """Return the first line of a conversation that has ``text`` in it, in either case.

    Returns:
        None where no line has it; an empty line without ``text``, which all match.
    """
    if not text:
        return ""
    return next((line for line in _lines(stored) if text.casefold() in line.casefold()), None)


def _lines(stored: StoredConversation) -> Iterator[str]:
    for message in stored.history:
        for part in (message.typed or message.content, message.reasoning):
            yield from part.splitlines()
