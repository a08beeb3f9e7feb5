"""Find stored conversations: the last one, all of them, or the one of an id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dslocal.errors import DslocalError, NotFoundError, UsageError

from .storage import StoredConversation, conversations_folder, load_conversation

KEPT_CACHES = 3  # conversations whose KV cache is kept

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
# a day, a time, all of it, or its end
PART_OF_ID = re.compile(r"\d{8}(-\d{6}(-[0-9a-f]{4})?)?|[0-9a-f]{4}")


def last_conversation(*, other_than: str = "") -> StoredConversation:
    """Return the conversation that was written last.

    Args:
        other_than: The id of one that is not meant.

    Raises:
        NotFoundError: If there is none.
    """
    for saved in _conversations():
        if saved.id != other_than:
            return saved
    raise NotFoundError("no conversation to resume", hint="dslocal chat starts one")


def list_conversations() -> list[StoredConversation]:
    """Return all conversations, the one written last first, without files that are damaged."""
    return list(_conversations())


def _conversations() -> Iterator[StoredConversation]:
    """Yield what :func:`list_conversations` returns; a file is read when it is its turn."""
    for file in sorted(conversations_folder().glob("*.jsonl"), key=_written, reverse=True):
        if _ID.fullmatch(file.stem):
            try:
                saved = load_conversation(file)
            except DslocalError:
                continue
            if saved.history:
                yield saved


def find_conversation(text: str) -> StoredConversation:
    """Return the conversation whose id is ``text``, or begins or ends with it.

    Raises:
        NotFoundError: If there is none.
        UsageError: If there are several.
    """
    folder = conversations_folder()
    if _ID.fullmatch(text) and (folder / f"{text}.jsonl").exists():
        return load_conversation(folder / f"{text}.jsonl")
    named: list[Path] = []
    if PART_OF_ID.fullmatch(text):
        files = [
            file for file in conversations_folder().glob("*.jsonl") if _ID.fullmatch(file.stem)
        ]
        named = sorted(file for file in files if _is_part(text, file.stem))
    if not named:
        raise NotFoundError(
            f"no conversation called {text!r:.60}", hint="dslocal sessions lists them"
        )
    if len(named) > 1:
        raise UsageError(
            f"{text} fits {len(named)} conversations",
            hint=", ".join(file.stem for file in named[:4]),
        )
    return load_conversation(named[0])


def load_by_id(id: str) -> StoredConversation:
    """Return the conversation with exactly that id.

    Raises:
        NotFoundError: If there is none.
        DslocalError: If it cannot be read.
    """
    file = conversations_folder() / f"{id}.jsonl"
    if not _ID.fullmatch(id) or not file.is_file():
        raise NotFoundError(f"no conversation called {id!r:.60}")
    return load_conversation(file)


def _is_part(text: str, id: str) -> bool:
    return id.startswith(text) or id.endswith(text)


def old_cache_files() -> list[Path]:
    """Return the KV caches of all but the last few conversations, which may be deleted."""
    return sorted(conversations_folder().glob("*.kv"), key=_written, reverse=True)[KEPT_CACHES:]


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
