"""Conversations on disk: every question is written before it is asked and every answer as it ends,
for this user alone.

A file is JSON lines, only ever appended to. A line says from which message on the history is what
it holds, so that a turn that was retried, edited or gone on with is one more line. A last line that
is torn is no line. A file is hostile until checked: one that makes no sense is named, and passed
over where the last one is looked for. While a process goes on with a conversation, it holds its
file.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dslocal import home
from dslocal.errors import DslocalError, NotFoundError, UsageError
from dslocal.prompts.messages import Message, Thinking, ToolCall

from .session import PartialAnswer

FORMAT = 2
MAX_FILE = 64 << 20  # bytes
MAX_MESSAGES, MAX_TOKENS = 100_000, 1 << 20
KEPT_STATES = 3  # conversations whose KV cache is kept
ROLES = ("system", "user", "assistant", "tool")
CUTS = ("", "interrupted", "length")
TEXTS = ("model", "system", "thinking")

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
PART_OF_ID = re.compile(
    r"\d{8}(-\d{6}(-[0-9a-f]{4})?)?|[0-9a-f]{4}"
)  # a day, a time, all of it, or its end


@dataclass
class StoredConversation:
    """One conversation. ``model`` is what it was opened with: a name or a path. ``began`` and
    ``last`` are Unix times.

    ``history`` may end with a question that was never answered. ``begun`` are the tokens of a last
    answer that was cut.
    """

    id: str
    model: str
    system: str = ""
    thinking: str = ""
    history: list[Message] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    partial: PartialAnswer | None = None
    last: float = field(default=0.0, compare=False)
    _file: int | None = field(default=None, repr=False, compare=False)
    _known: dict[str, str] = field(
        default_factory=dict, repr=False, compare=False
    )  # of TEXTS, what is on disk
    _whole: int = field(default=0, repr=False, compare=False)  # bytes on disk that are whole lines

    @property
    def file(self) -> Path:
        return _folder() / f"{self.id}.jsonl"

    @property
    def state(self) -> Path:
        """Where its KV cache goes."""
        return _folder() / f"{self.id}.kv"

    @property
    def questions(self) -> list[str]:
        """What the user asked, as typed."""
        return [
            message.typed or message.content for message in self.history if message.role == "user"
        ]

    def lock(self) -> bool:
        """Holds the file for this process; False where another one does, or it cannot be had. What
        was written since is read again.
        """
        try:
            file = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return False
        if not _locked(file):
            os.close(file)
            return False
        try:
            fresh = load_conversation(self.file)
        except DslocalError:
            os.close(file)
            return False
        self.history, self.partial, self._known, self._whole = (
            fresh.history,
            fresh.partial,
            fresh._known,
            fresh._whole,
        )
        self._file = file
        return True

    def copy(self) -> StoredConversation:
        """The same conversation as one of its own, which is not on disk until it is written."""
        new = new_conversation(self.model)
        new.system, new.thinking, new.partial = self.system, self.thinking, self.partial
        return new

    def save(self, history: Sequence[Message], begun: PartialAnswer | None = None) -> None:
        """Puts ``history`` on disk, as far as it is not there yet. Raises DslocalError where that
        cannot be done.
        """
        texts = {name: getattr(self, name) for name in TEXTS}
        same = next(
            (
                i
                for i, (old, new) in enumerate(zip(self.history, history, strict=False))
                if old != new
            ),
            None,
        )
        same = min(len(self.history), len(history)) if same is None else same
        if (
            same == len(history) == len(self.history)
            and begun == self.partial
            and texts == self._known
        ):
            return
        content: dict[str, Any] = (
            {} if self._whole else {"format": FORMAT, "id": self.id, "began": self.began}
        )
        content |= {name: text for name, text in texts.items() if self._known.get(name) != text}
        content |= {"from": same, "messages": [_fields(message) for message in history[same:]]}
        if begun:
            content["begun"] = {
                "ids": begun.ids,
                "seed": begun.seed,
                "thinking": begun.thinking.value if begun.thinking else "",
            }
        self._append(json.dumps(content).encode() + b"\n")
        self.history, self.partial, self._known = list(history), begun, texts

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Deletes it and its KV cache. Raises DslocalError where that cannot be done, or another
        process holds it.
        """
        from dslocal.engine.kv_state import remove_state

        if not self.lock():
            raise DslocalError(
                f"{self.id} is open in another terminal", hint="leave that chat first"
            )
        try:
            self.file.unlink()
            remove_state(self.state)
        except OSError as e:
            raise DslocalError(f"{self.file}: cannot be deleted: {e.strerror}") from e
        finally:
            self.close()

    def _append(self, line: bytes) -> None:
        """Writes a line, whole or not at all."""
        try:
            if self._file is None:
                _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = os.open(
                    self.file,
                    os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC,
                    0o600,
                )
                _locked(self._file)
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
            raise DslocalError(
                f"{self.file}: the conversation cannot be saved: {e.strerror}",
                hint="it goes on unsaved",
            ) from e


def new_conversation(model: str) -> StoredConversation:
    """A conversation that is not on disk until it is written."""
    return StoredConversation(time.strftime("%Y%m%d-%H%M%S-") + os.urandom(2).hex(), model)


def last_conversation() -> StoredConversation:
    """The conversation that was written last. Raises NotFoundError when there is none."""
    for saved in list_conversations():
        return saved
    raise NotFoundError("no conversation to go on with", hint="dslocal chat begins one")


def list_conversations() -> list[StoredConversation]:
    """All conversations, the one written last first. Files that are none are passed over."""
    found = []
    for file in sorted(_folder().glob("*.jsonl"), key=_written, reverse=True):
        if _ID.fullmatch(file.stem):
            try:
                saved = load_conversation(file)
            except DslocalError:
                continue
            if saved.history:
                found.append(saved)
    return found


def find_conversation(text: str) -> StoredConversation:
    """The conversation whose id is ``text``, or begins or ends with it. Raises NotFoundError,
    UsageError where there are several.
    """
    if _ID.fullmatch(text) and (_folder() / f"{text}.jsonl").exists():
        return load_conversation(_folder() / f"{text}.jsonl")
    files = (
        [file for file in _folder().glob("*.jsonl") if _ID.fullmatch(file.stem)]
        if PART_OF_ID.fullmatch(text)
        else []
    )
    named = sorted(file for file in files if file.stem.startswith(text) or file.stem.endswith(text))
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


def load_conversation(file: Path) -> StoredConversation:
    """Raises DslocalError naming ``file`` when it is not one of these files."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise DslocalError(
                f"{file}: {file.stat().st_size:,} bytes are too many for a conversation",
                hint="dslocal sessions rm",
            )
        data, last = file.read_bytes(), file.stat().st_mtime
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
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError, OverflowError):
        raise DslocalError(
            f"{file}: is not a conversation of dslocal's", hint="a damaged file can be deleted"
        ) from None
    saved._known = {name: getattr(saved, name) for name in TEXTS}
    return saved


def old_states() -> list[Path]:
    """The KV caches of all but the last few conversations, which are not worth their disk."""
    return sorted(_folder().glob("*.kv"), key=_written, reverse=True)[KEPT_STATES:]


def _apply(line: dict[str, Any], saved: StoredConversation) -> None:
    """Changes ``saved`` as ``line`` says. Raises the errors of a line that makes no sense."""
    for name in TEXTS:
        if not isinstance(line.get(name, ""), str):
            raise TypeError(name)
        setattr(saved, name, line.get(name, getattr(saved, name)))
    start, messages = line["from"], [_message(fields) for fields in line["messages"]]
    if (
        not isinstance(start, int)
        or not 0 <= start <= len(saved.history)
        or start + len(messages) > MAX_MESSAGES
    ):
        raise ValueError(start)
    saved.history[start:] = messages
    saved.partial = _begun(line["begun"]) if "begun" in line else None


def _begun(fields: dict[str, Any]) -> PartialAnswer:
    ids, seed, thinking = fields["ids"], fields["seed"], fields["thinking"]
    if len(ids) > MAX_TOKENS or not all(type(id) is int and 0 <= id < 1 << 31 for id in ids):
        raise ValueError("ids")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ValueError(seed)
    return PartialAnswer(tuple(ids), seed, Thinking(thinking) if thinking else None)


def _folder() -> Path:
    return home.state_dir() / "sessions"


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _locked(file: int) -> bool:
    """Whether this process holds ``file`` now, until it is closed. Where files cannot be held, all
    do.
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


def _fields(message: Message) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(message).items()
        if value or name in ("role", "content")
    }


def _message(fields: dict[str, Any]) -> Message:
    texts = {name: fields.get(name, "") for name in ("reasoning", "typed", "cut")} | {
        "content": fields["content"]
    }
    calls = tuple(ToolCall(call["name"], call["arguments"]) for call in fields.get("calls", ()))
    every = [*texts.values(), *(text for call in calls for text in (call.name, call.arguments))]
    if (
        fields["role"] not in ROLES
        or texts["cut"] not in CUTS
        or not all(isinstance(text, str) for text in every)
    ):
        raise ValueError(fields["role"])
    return Message(fields["role"], calls=calls, **texts)
