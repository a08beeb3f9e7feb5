"""A conversation with a loaded model, and the file that it is saved in.

The file is one JSON object that other programs can read. Its content is not trusted before it is
checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from dslocal.errors import DslocalError, NotFoundError
from dslocal.prompts.messages import Message, ToolCall

from .answer import Answer, AnswerStream
from .arguments.argument_types import FUNCTION, PATH, require
from .ready_model import OnPrefill, ReadyModel
from .sampling_settings import SamplingSettings, new_seed

if TYPE_CHECKING:
    from dslocal.chat.session import Session

FORMAT = 1
MAX_FILE = 64 << 20  # bytes
MAX_MESSAGES = 100_000
Role = Literal["system", "user", "assistant", "tool"]
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class SavedChat:
    """The content of a file of :meth:`Chat.save`."""

    model: str
    system: str
    messages: tuple[Message, ...]


class Chat:
    """A conversation. As the vendor recommends, earlier reasoning is not sent again."""

    def __init__(self, ready: ReadyModel, session: Session) -> None:
        """Wrap a session; use :meth:`Model.chat`."""
        self._ready = ready
        self._session = session

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return all messages so far except the system message."""
        return tuple(self._session.history)

    def ask(
        self,
        text: str,
        *,
        files: Sequence[str | Path] = (),
        math: bool | None = None,
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Ask the next question and return the complete answer.

        Args:
            text: the question.
            files: text files to attach, in the vendor's own template.
            math: as for :meth:`Model.ask`.
            seed: the same seed gives the same answer.
            on_prefill: receives the number of evaluated tokens of the prompt, and the number of
                all.
            **settings: settings for this and later answers; see :class:`SamplingSettings`.

        Raises:
            ContextOverflowError: the question leaves no room for an answer, even without earlier
                turns, which are left out of the prompt when the context is full.
        """
        return self.stream(
            text, files=files, math=math, seed=seed, on_prefill=on_prefill, **settings
        ).answer

    def stream(
        self,
        text: str,
        *,
        files: Sequence[str | Path] = (),
        math: bool | None = None,
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> AnswerStream:
        """Ask the next question and yield the answer as events, as :meth:`Model.stream` does."""
        self._session.change_settings(settings)
        question = self._ready.compose(text, files, math, None)
        return self._ready.stream(self._session, question, new_seed(seed), on_prefill)

    def continue_answer(self, *, on_prefill: OnPrefill | None = None) -> Answer:
        """Continue the last answer if max_tokens, the context or ``close`` ended it.

        Returns:
            The added part.

        Raises:
            UsageError: the last answer is complete, or there is none.
        """
        require(FUNCTION.or_none, on_prefill=on_prefill)
        self._ready.require_open()
        events = self._session.continue_answer(on_prefill=on_prefill)
        return AnswerStream(events, lambda: self._session.turn, self._ready.busy).answer

    def undo(self) -> str | None:
        """Take back the last question and its answer.

        Returns:
            The question; None if there was none.
        """
        taken = self._session.remove_last_turn()
        return taken.content if taken else None

    def save(self, path: str | Path) -> None:
        """Write the conversation to a JSON file, completely or not at all.

        Raises:
            DslocalError: the file cannot be written.
        """
        from dslocal.files import write_atomic

        require(PATH, path=path)
        content = {
            "format": FORMAT,
            "model": self._ready.name,
            "system": self._session.system,
            "messages": [_fields(message) for message in self.messages],
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        try:
            write_atomic(Path(path), text.encode("utf-8", "replace") + b"\n")
        except OSError as e:
            raise DslocalError(f"{path}: cannot be written: {e.strerror}") from e


def read_saved(path: Path) -> SavedChat:
    """Read a file of :meth:`Chat.save`.

    Raises:
        NotFoundError: the file does not exist.
        DslocalError: the file cannot be read, or is not a saved chat.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise DslocalError(f"{path}: more than {MAX_FILE:,} bytes are too many for a chat")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as e:
        raise DslocalError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError):
        raise DslocalError(f"{path}: is not a saved chat: no JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DslocalError(f"{path}: is not a saved chat of this version of dslocal")
    messages = content.get("messages")
    if not isinstance(messages, list) or len(messages) > MAX_MESSAGES:
        raise DslocalError(f"{path}: is not a saved chat: messages")
    try:
        return SavedChat(
            _text(content, "model"), _text(content, "system"), tuple(map(_message, messages))
        )
    except (TypeError, ValueError) as e:
        raise DslocalError(f"{path}: is not a saved chat: {e}") from None


def _fields(message: Message) -> dict[str, Any]:
    """Return a message as JSON, without empty fields."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        fields["reasoning"] = message.reasoning
    if message.calls:
        fields["tool_calls"] = [
            {"name": call.name, "arguments": call.arguments} for call in message.calls
        ]
    if message.cut:
        fields["cut"] = message.cut
    return fields


def _message(fields: object) -> Message:
    """Return the message that ``fields`` describe. Raises TypeError or ValueError."""
    if not isinstance(fields, dict):
        raise TypeError("messages")
    role = _text(fields, "role")
    if role not in ROLES:
        raise ValueError(f"role {role!r:.20}")
    calls = fields.get("tool_calls", [])
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise TypeError("tool_calls")
    cut = _text(fields, "cut")
    if cut not in ("", "interrupted", "length"):
        raise ValueError(f"cut {cut!r:.20}")
    return Message(
        cast(Role, role),
        _text(fields, "content"),
        _text(fields, "reasoning"),
        tuple(ToolCall(_text(call, "name"), _text(call, "arguments")) for call in calls),
        cut=cut,
    )


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str):
        raise TypeError(key)
    return value
