"""The input line: history kept for this user alone, many lines, completion, and a toolbar below.
Knows nothing of models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import Completer
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.utils import is_dumb_terminal

from dslocal.terminal.sanitise import sanitise

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

MAX_HISTORY_BYTES = 1 << 20  # bytes of history that are read, the newest
MAX_ENTRY_CHARACTERS = 64 << 10  # characters; what is longer is not kept
MARK = "› "


class PromptHistory(FileHistory):
    """prompt-toolkit's file of what was typed. It is read as far as it is worth it, and nothing in
    it acts on the terminal.
    """

    def load_history_strings(self) -> Iterable[str]:
        entries: list[list[str]] = []
        fresh = True
        for line in self._recent().decode("utf-8", "replace").split("\n"):
            if not line.startswith("+"):
                fresh = True
                continue
            if fresh:
                entries.append([])
            entries[-1].append(line[1:])
            fresh = False
        texts = [sanitise("\n".join(entry)) for entry in reversed(entries)]
        return [text for text in texts if text and len(text) <= MAX_ENTRY_CHARACTERS]

    def store_string(self, string: str) -> None:
        if len(string) > MAX_ENTRY_CHARACTERS:
            return
        entry = "\n# \n" + "".join(f"+{line}\n" for line in sanitise(string).split("\n"))
        try:
            file = os.open(self.filename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(
                    file, entry.encode("utf-8", "replace")
                )  # at once, so that two chats' do not mix
            finally:
                os.close(file)
        except OSError:
            return

    def _recent(self) -> bytes:
        try:
            with open(self.filename, "rb") as file:  # noqa: PTH123 - a str or bytes of prompt-toolkit's
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - MAX_HISTORY_BYTES))
                data = file.read(MAX_HISTORY_BYTES)
        except OSError:
            return b""
        return data if size <= MAX_HISTORY_BYTES else data[data.find(b"\n#") + 1 :]


def history_in(folder: Path) -> History:
    """The history in ``folder``, or one that is not kept where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "history", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except (OSError, AttributeError):
        return InMemoryHistory()
    return PromptHistory(str(folder / "history"))


class InputLine:
    """Asks for lines. ``toolbar`` is told the width and gives what stands below."""

    def __init__(
        self,
        history: History,
        completer: Completer,
        toolbar: Callable[[int], str],
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        ends: dict[str, Any] = {"input": input, "output": output}
        plain: AbstractContextManager[object] = (
            create_app_session(output=PlainTextOutput(sys.stdout))
            if is_dumb_terminal()
            else nullcontext()
        )
        with plain:  # or the cursor would be set, if nothing else
            self._session: PromptSession[str] = PromptSession(
                history=history,
                completer=completer,
                complete_while_typing=True,
                key_bindings=keys,
                enable_open_in_editor=True,
                bottom_toolbar=lambda: toolbar(self._session.app.output.get_size().columns),
                prompt_continuation=lambda width, *_: " " * width,
                **ends,
            )

    def ask(self, default: str = "") -> str:
        """What was entered. ``default`` is in the line already. Raises EOFError on Ctrl-D, and
        KeyboardInterrupt on Ctrl-C.
        """
        return self._session.prompt(MARK, default=default)

    @property
    def left(self) -> str:
        """What stood in the line when it was left by Ctrl-C."""
        return self._session.default_buffer.text
