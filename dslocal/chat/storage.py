"""Store conversations on disk, for this user alone.

Every question is written before it is asked, and every answer as it ends. A file is JSON lines that
are only ever appended. A line says from which message on it replaces the history, so that a turn
that was retried, edited or continued is one more line; an incomplete last line is ignored.

While an answer is generated, what came of it is in a second file (:mod:`.unfinished_answer`). If
the process is killed, that file stays, and counts as an answer that was cut. The next process that
locks the conversation appends it.

No file is trusted before it is checked: one that makes no sense causes an error that names it, and
is left out of lists. While a process continues a conversation, it locks its file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dslocal import home
from dslocal.errors import DslocalError
from dslocal.home.input_history import forget_typed
from dslocal.prefix import common_prefix_length
from dslocal.prompts.messages import Message

from .running_answer import PartialAnswer
from .stored_messages import message_fields, partial_fields, read_message, read_partial
from .unfinished_answer import (
    answer_file,
    damaged_answer,
    read_answer,
    remove_answer,
    write_answer,
)

FORMAT = 2
MAX_FILE = 64 << 20  # bytes
MAX_MESSAGES = 100_000
TEXTS = ("model", "system", "thinking", "effort")
# what an object of JSON that makes no sense raises while it is read
_SENSELESS = (
    ValueError,
    LookupError,
    TypeError,
    RecursionError,
    AttributeError,
    OverflowError,
)


@dataclass
class StoredConversation:
    """One conversation.

    Attributes:
        id: The time when it began, and four random hexadecimal digits.
        model: What it was opened with: a name or a path.
        system: The system prompt.
        thinking: How answers begin, a value of Thinking; empty for the family's default.
        effort: How thoroughly the model reasons; empty where its family knows no efforts.
        history: The messages; the last may be a question that was never answered.
        began: When it began, as Unix time.
        partial: The tokens of the last answer, if it was cut.
        last: When it was written last, as Unix time.
    """

    id: str
    model: str
    system: str = ""
    thinking: str = ""
    effort: str = ""
    history: list[Message] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    partial: PartialAnswer | None = None
    last: float = field(default=0.0, compare=False)
    # the open file, while this process holds it
    _file: int | None = field(default=None, repr=False, compare=False)
    # values of TEXTS that are on disk
    _known: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    # bytes on disk that are whole lines
    _whole: int = field(default=0, repr=False, compare=False)
    # what the answer changes that is stored beside them
    _answer: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def file(self) -> Path:
        """Return where it is stored."""
        return conversations_folder() / f"{self.id}.jsonl"

    @property
    def cache_file(self) -> Path:
        """Return where its KV cache is stored."""
        return conversations_folder() / f"{self.id}.kv"

    @property
    def questions(self) -> list[str]:
        """Return what the user asked, as typed."""
        return [
            message.typed or message.content for message in self.history if message.role == "user"
        ]

    def lock(self) -> bool:
        """Lock the file for this process, and read again what was written since.

        An answer that a killed process left becomes a part of it.

        Returns:
            False where another process holds the file.

        Raises:
            DslocalError: If it cannot be opened, read or written, or is damaged.
        """
        try:
            file = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as e:
            raise DslocalError(f"{self.file}: cannot be opened: {e.strerror}") from e
        if not _try_lock(file):
            os.close(file)
            return False
        try:
            fresh = load_conversation(self.file)
        except DslocalError:
            os.close(file)
            raise
        self.history = fresh.history
        self.partial = fresh.partial
        self._known = fresh._known
        self._whole = fresh._whole
        self._file = file
        if fresh._answer:
            try:
                self._append(fresh._answer)
                self._remove_answer()
            except DslocalError:
                self.close()
                raise
        return True

    def copy(self) -> StoredConversation:
        """Return the same conversation under a new id, not on disk until it is saved."""
        new = new_conversation(self.model)
        new.system = self.system
        new.thinking = self.thinking
        new.effort = self.effort
        new.partial = self.partial
        return new

    def save(self, history: Sequence[Message], partial: PartialAnswer | None = None) -> None:
        """Write ``history`` to disk, as far as it is not there yet.

        Raises:
            DslocalError: If it cannot be written.
        """
        texts = self._texts()
        is_same = list(history) == self.history and partial == self.partial
        if not is_same or texts != self._known:
            self._append(self._changes(history, partial, texts))
            self.history = list(history)
            self.partial = partial
            self._known = texts
        self._remove_answer()

    def save_provisionally(
        self, history: Sequence[Message], partial: PartialAnswer | None = None
    ) -> None:
        """Write ``history`` to disk until the next save takes its place.

        A conversation that could not be saved before is not written.

        Raises:
            DslocalError: If it cannot be written.
        """
        if not self._whole:
            return
        changes = self._changes(history, partial, self._texts())
        try:
            write_answer(self.file, changes, self._whole)
        except OSError as e:
            raise self._not_saved(answer_file(self.file), e) from e

    def _texts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in TEXTS}

    def _changes(
        self, history: Sequence[Message], partial: PartialAnswer | None, texts: dict[str, str]
    ) -> dict[str, Any]:
        """Return what a line says that makes what is on disk ``history``."""
        same = common_prefix_length(self.history, history)
        content: dict[str, Any] = {}
        if not self._whole:
            content |= {"format": FORMAT, "id": self.id, "began": self.began}
        content |= {name: text for name, text in texts.items() if self._known.get(name) != text}
        content |= {
            "from": same,
            "messages": [message_fields(message) for message in history[same:]],
        }
        if partial:
            content["partial"] = partial_fields(partial)
        return content

    def close(self) -> None:
        """Unlock and close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Delete the conversation, its KV cache, and what was typed in it from the input history.

        Raises:
            DslocalError: If another process holds it, or it cannot be read or deleted.
        """
        from dslocal.engine.kv_cache.kv_state import remove_state

        if not self.lock():
            raise DslocalError(
                f"{self.id} is open in another terminal", hint="exit that chat first"
            )
        try:
            forget_typed(self.id)
            remove_state(self.cache_file)
            self.file.unlink()
            remove_answer(self.file)
        except OSError as e:
            file = e.filename or self.file
            raise DslocalError(f"{file}: cannot be deleted: {e.strerror}") from e
        finally:
            self.close()

    def _append(self, changes: dict[str, Any]) -> None:
        """Write a line, whole or not at all."""
        line = json.dumps(changes).encode() + b"\n"
        try:
            if self._file is None:
                conversations_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = os.open(
                    self.file,
                    os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC,
                    0o600,
                )
                _try_lock(self._file)
            if os.fstat(self._file).st_size > self._whole:
                os.ftruncate(self._file, self._whole)  # a torn line
            try:
                left = memoryview(line)
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._whole)
                raise
            self._whole += len(line)
        except OSError as e:
            raise self._not_saved(self.file, e) from e

    def _remove_answer(self) -> None:
        """Delete what is beside the conversation, which has it or does not need it any more."""
        try:
            remove_answer(self.file)
        except OSError as e:
            raise self._not_saved(answer_file(self.file), e) from e

    def _not_saved(self, file: Path, error: OSError) -> DslocalError:
        return DslocalError(
            f"{file}: the conversation cannot be saved: {error.strerror}",
            hint="it continues unsaved",
        )


def new_conversation(model: str) -> StoredConversation:
    """Return a conversation that is not on disk until it is saved."""
    return StoredConversation(time.strftime("%Y%m%d-%H%M%S-") + os.urandom(2).hex(), model)


def conversations_folder() -> Path:
    """Return the folder of all conversations' files."""
    return home.state_dir() / "sessions"


def load_conversation(file: Path) -> StoredConversation:
    """Return the conversation that is stored in ``file``, with an answer that is on its way.

    Raises:
        DslocalError: If it cannot be read, or is not a conversation.
    """
    answer = read_answer(file)  # first: the next line of ``file`` has all of it
    try:
        status = file.stat()
        if status.st_size > MAX_FILE:
            raise DslocalError(
                f"{file}: {status.st_size:,} bytes are too many for a conversation",
                hint="dslocal writes no such file; it can be deleted",
            )
        data = file.read_bytes()
        last = file.stat().st_mtime
    except OSError as e:
        raise DslocalError(f"{file}: cannot be read: {e.strerror}") from e
    whole = data.rfind(b"\n") + 1
    try:
        lines = [json.loads(line) for line in data[:whole].splitlines()]
        if not lines or lines[0]["format"] != FORMAT or lines[0]["id"] != file.stem:
            raise DslocalError(f"{file}: is not a conversation of this version of dslocal")
        began = float(lines[0]["began"])
        if not 0 <= began < 1e11:
            raise ValueError(began)
        saved = StoredConversation(file.stem, "", began=began, last=last, _whole=whole)
        for line in lines:
            _apply(line, saved)
    except _SENSELESS:
        raise DslocalError(
            f"{file}: is not a conversation of dslocal's", hint="a damaged file can be deleted"
        ) from None
    if answer is not None and answer[1] == whole:
        saved._answer = answer[0]
        try:
            _apply(saved._answer, saved)
        except _SENSELESS:
            raise damaged_answer(file) from None
    saved._known = {name: getattr(saved, name) for name in TEXTS}
    return saved


def _apply(line: dict[str, Any], saved: StoredConversation) -> None:
    """Change ``saved`` as ``line`` says.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: If the line makes no sense.
    """
    for name in TEXTS:
        if not isinstance(line.get(name, ""), str):
            raise TypeError(name)
        setattr(saved, name, line.get(name, getattr(saved, name)))
    start = line["from"]
    messages = [read_message(fields) for fields in line["messages"]]
    if not isinstance(start, int) or not 0 <= start <= len(saved.history):
        raise ValueError(start)
    if start + len(messages) > MAX_MESSAGES:
        raise ValueError(len(messages))
    saved.history[start:] = messages
    saved.partial = read_partial(line["partial"]) if "partial" in line else None


def _try_lock(file: int) -> bool:
    """Lock ``file`` for this process until it is closed.

    Returns:
        False where another process holds it. Where files cannot be locked, all succeed.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
