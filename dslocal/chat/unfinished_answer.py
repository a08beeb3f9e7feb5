"""An answer while it is generated, in a file beside its conversation: ``ID.answer``.

The file is replaced as a whole, so an answer is on disk at every moment, whenever a kill comes. It
names the length of the conversation that it belongs to, so it counts only until the conversation
grows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dslocal.errors import DslocalError
from dslocal.files import write_atomic

MAX_ANSWER = 64 << 20  # bytes
LENGTH = "after"  # the field with the length of the conversation, in bytes


def answer_file(conversation: Path) -> Path:
    """Return where the answer is stored that is on its way in ``conversation``."""
    return conversation.with_suffix(".answer")


def write_answer(conversation: Path, changes: dict[str, Any], length: int) -> None:
    """Store an answer that is on its way, in the place of what is stored of it.

    Args:
        conversation: The conversation's file.
        changes: What a line of it would say.
        length: The bytes of the conversation.

    Raises:
        OSError: It cannot be written. What was stored before stays.
    """
    content = json.dumps({**changes, LENGTH: length}) + "\n"
    write_atomic(answer_file(conversation), content, is_private=True)


def read_answer(conversation: Path) -> tuple[dict[str, Any], Any] | None:
    """Return what is stored of an answer that is on its way, or that a killed process left.

    Returns:
        What a line would say, and the length of the conversation that it belongs to; None without
        such an answer.

    Raises:
        DslocalError: It cannot be read, or is damaged.
    """
    path = answer_file(conversation)
    try:
        if path.stat().st_size > MAX_ANSWER:
            raise damaged_answer(conversation)
        changes = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as e:
        raise DslocalError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError):
        raise damaged_answer(conversation) from None
    if not isinstance(changes, dict):
        raise damaged_answer(conversation)
    return changes, changes.pop(LENGTH, None)


def remove_answer(conversation: Path) -> None:
    """Delete what is stored of an answer, and what a kill left of a try to store it.

    Raises:
        OSError: It cannot be deleted.
    """
    path = answer_file(conversation)
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".new").unlink(missing_ok=True)


def damaged_answer(conversation: Path) -> DslocalError:
    """Return the error about an answer that makes no sense."""
    return DslocalError(
        f"{answer_file(conversation)}: is not an answer of dslocal's",
        hint="a damaged file can be deleted",
    )
