"""Conversations on disk: every finished turn is written before the next question is asked, whole or not at all, for this user alone.

A file is hostile until checked: one that makes no sense is named, and passed over where the last one is looked for.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import hub
from ..errors import DslocalError, NotFoundError
from .messages import Call, Message

FORMAT = 1
MAX_FILE = 64 << 20  # bytes
KEPT_STATES = 3  # conversations whose KV cache is kept
ROLES = ("system", "user", "assistant", "tool")

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


@dataclass
class Saved:
    """One conversation. ``model`` is what it was opened with: a name or a path. ``began`` is Unix time."""

    id: str
    model: str
    system: str = ""
    thinking: str = ""
    history: list[Message] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    @property
    def file(self) -> Path:
        return _folder() / f"{self.id}.json"

    @property
    def state(self) -> Path:
        """Where its KV cache goes."""
        return _folder() / f"{self.id}.kv"

    def write(self) -> None:
        """Puts it on disk. Raises DslocalError where that cannot be done."""
        content = {
            **{"format": FORMAT, "id": self.id, "model": self.model, "system": self.system, "thinking": self.thinking},
            **{"began": self.began, "history": [_fields(message) for message in self.history]},
        }
        new = self.file.with_name(self.file.name + ".new")
        try:
            _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=True)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file)
        except OSError as e:
            raise DslocalError(f"{self.file}: the conversation cannot be saved: {e.strerror}") from e


def new_saved(model: str) -> Saved:
    """A conversation that is not on disk until it is written."""
    return Saved(time.strftime("%Y%m%d-%H%M%S-") + os.urandom(2).hex(), model)


def last_saved() -> Saved:
    """The conversation that was written last. Raises NotFoundError when there is none."""
    for file in sorted(_folder().glob("*.json"), key=_written, reverse=True):
        if _ID.fullmatch(file.stem):
            try:
                return load_saved(file)
            except DslocalError:
                continue
    raise NotFoundError("no conversation to go on with", hint="dslocal chat begins one")


def load_saved(file: Path) -> Saved:
    """Raises DslocalError naming ``file`` when it is not one of these files."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise DslocalError(f"{file}: {file.stat().st_size:,} bytes are too many for a conversation")
        content = json.loads(file.read_bytes())
        texts = {key: content[key] for key in ("id", "model", "system", "thinking")}
        history, began = [_message(one) for one in content["history"]], float(content["began"])
    except OSError as e:
        raise DslocalError(f"{file}: cannot be read: {e.strerror}") from e
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError):
        raise DslocalError(f"{file}: is not a conversation of dslocal's") from None
    if content["format"] != FORMAT or texts["id"] != file.stem or not all(isinstance(text, str) for text in texts.values()):
        raise DslocalError(f"{file}: is not a conversation of this version of dslocal")
    return Saved(**texts, history=history, began=began)


def old_states() -> list[Path]:
    """The KV caches of all but the last few conversations, which are not worth their disk."""
    return sorted(_folder().glob("*.kv"), key=_written, reverse=True)[KEPT_STATES:]


def _folder() -> Path:
    return hub.state_dir() / "sessions"


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _fields(message: Message) -> dict[str, Any]:
    calls: Sequence[Call] = message.calls
    given = [{"name": call.name, "arguments": call.arguments} for call in calls]
    fields = {"role": message.role, "content": message.content, "reasoning": message.reasoning}
    return {**fields, "calls": given} if given else fields


def _message(fields: dict[str, Any]) -> Message:
    texts = [fields["content"], fields.get("reasoning", "")]
    calls = tuple(Call(call["name"], call["arguments"]) for call in fields.get("calls", ()))
    texts += [text for call in calls for text in (call.name, call.arguments)]
    if fields["role"] not in ROLES or not all(isinstance(text, str) for text in texts):
        raise ValueError(fields["role"])
    return Message(fields["role"], texts[0], texts[1], calls)
