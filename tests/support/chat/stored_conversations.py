"""A conversation on disk, with all that a message can hold."""

from __future__ import annotations

import json
from typing import Any

from dslocal.chat import PartialAnswer, StoredConversation, new_conversation
from dslocal.prompts import Message, Thinking, ToolCall

HISTORY = [
    Message(
        "user",
        "What is 1 + 1? \x1b[31m ｜ \ud83d\ude00".encode("utf-16", "surrogatepass").decode(
            "utf-16"
        ),
    ),
    Message("assistant", "2", "I add.", (ToolCall("add", '{"a": 1}'),)),
    Message("tool", "2"),
    Message("user", "[file name]: a\nWhy?", typed="Why?"),
    Message("assistant", "", "Bec", cut="interrupted"),
]
PARTIAL = PartialAnswer((1, 2, 3), 7, Thinking.FORCED)


def written(model: str = "nano", *, closed: bool = True, **changes: Any) -> StoredConversation:
    """A conversation on disk; ``changes`` are of its first line."""
    saved = new_conversation(model)
    saved.system = "Be kind."
    saved.save(HISTORY, PARTIAL)
    if closed:
        saved.close()
    if changes:
        saved.file.write_text(json.dumps({**json.loads(saved.file.read_text()), **changes}) + "\n")
    return saved
