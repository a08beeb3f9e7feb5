"""The input line: many lines, a history kept for this user alone, completion, and a toolbar below.

Does not know models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.completion import Completer
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.renderer import CPR_Support
from prompt_toolkit.utils import is_dumb_terminal

from dslocal.home.input_history import FILE_NAME, history_entry
from dslocal.terminal.prompt_signals import leave_on_signals
from dslocal.terminal.sanitise import sanitise

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

MAX_HISTORY_BYTES = 1 << 20  # that are read, the newest
MAX_ENTRY_CHARACTERS = 64 << 10  # longer entries are not kept
MARK = "› "
UNSAFE_MARK = "\N{REPLACEMENT CHARACTER}"  # for what would reorder or hide text


class PromptHistory(FileHistory):
    """prompt-toolkit's file of what was typed.

    The newest part of it is read, and nothing in it acts on the terminal.

    Args:
        filename: The file.
        conversation: Returns the id of the conversation that is typed in.
    """

    def __init__(self, filename: str, conversation: Callable[[], str]) -> None:
        super().__init__(filename)
        self._conversation = conversation

    def load_history_strings(self) -> Iterable[str]:
        """Return the entries, the newest first: prompt-toolkit calls this."""
        entries: list[list[str]] = []
        is_new_entry = True
        for line in self._recent_bytes().decode("utf-8", "replace").split("\n"):
            if not line.startswith("+"):
                is_new_entry = True
                continue
            if is_new_entry:
                entries.append([])
            entries[-1].append(line[1:])
            is_new_entry = False
        texts = [sanitise("\n".join(entry)) for entry in reversed(entries)]
        return [text for text in texts if text and len(text) <= MAX_ENTRY_CHARACTERS]

    def store_string(self, string: str) -> None:
        """Append an entry: prompt-toolkit calls this. A file that cannot be written is left."""
        if len(string) > MAX_ENTRY_CHARACTERS:
            return
        entry = history_entry(sanitise(string), self._conversation())
        try:
            file = os.open(self.filename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # In one write, so that the entries of two chats do not mix.
                os.write(file, entry)
            finally:
                os.close(file)
        except OSError:
            return

    def _recent_bytes(self) -> bytes:
        """Return the end of the file, from the beginning of an entry on."""
        try:
            # prompt-toolkit's filename is a str or bytes
            with open(self.filename, "rb") as file:  # noqa: PTH123
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - MAX_HISTORY_BYTES))
                data = file.read(MAX_HISTORY_BYTES)
        except OSError:
            return b""
        return data if size <= MAX_HISTORY_BYTES else data[data.find(b"\n#") + 1 :]


def open_history(folder: Path, conversation: Callable[[], str]) -> History:
    """Return the history in ``folder``, or one in memory where no file can be kept there.

    Args:
        folder: Where the file is.
        conversation: Returns the id of the conversation that is typed in.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except (OSError, AttributeError):
        return InMemoryHistory()
    return PromptHistory(str(path), conversation)


class InputLine:
    """Reads lines from the terminal.

    Args:
        history: What was typed before.
        completer: Completes what is typed.
        toolbar: Returns what stands below, for a width in cells.
        input: Keys from elsewhere than the terminal.
        output: A screen other than the terminal.
    """

    def __init__(
        self,
        history: History,
        completer: Completer,
        toolbar: Callable[[int], str],
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        with _session_of_terminal():
            self._session: PromptSession[str] = PromptSession(
                history=history,
                completer=completer,
                # Room for a menu is kept only while there may be one.
                complete_while_typing=Condition(self._is_command),
                key_bindings=_key_bindings(),
                input_processors=[_HarmlessText()],
                enable_open_in_editor=True,
                enable_suspend=True,
                bottom_toolbar=lambda: toolbar(self._session.app.output.get_size().columns),
                prompt_continuation=lambda width, *_: " " * width,
                input=input,
                output=output,
            )
        self._had_menu = False
        self._keep_toolbar_below_input(self._session.app)

    def _is_command(self) -> bool:
        """Return whether the line begins as a command, which the completer completes."""
        return self._session.default_buffer.text.startswith("/")

    def _keep_toolbar_below_input(self, app: Application[str]) -> None:
        """Draw the toolbar in the row below the input, or below the menu.

        prompt-toolkit asks the terminal where the cursor is, and would put the toolbar on the last
        row, with empty rows above it. So it gets that position, and does not query it.
        """
        renderer = app.renderer
        if renderer.cpr_support is CPR_Support.NOT_SUPPORTED:
            return  # without the terminal's answer prompt-toolkit shows no toolbar

        def place(_: Application[str]) -> None:
            if self._had_menu and not self._is_command():
                renderer.erase(leave_alternate_screen=False)  # the rows that the menu had
            self._had_menu = self._is_command()
            renderer.report_absolute_cursor_row(app.output.get_size().rows)
            renderer.cpr_support = CPR_Support.NOT_SUPPORTED

        renderer.cpr_support = CPR_Support.NOT_SUPPORTED
        app.before_render += place

    def read(self, default: str = "") -> str:
        """Return the text that is entered.

        Args:
            default: What is in the line already.

        Raises:
            EOFError: Ctrl-D was pressed on an empty line.
            KeyboardInterrupt: Ctrl-C was pressed, or a signal's handler raised it.
        """
        with leave_on_signals(self._session.app):
            return self._session.prompt(MARK, default=default)

    def press(self, keys: str) -> None:
        """Read ``keys`` next, as if they were pressed once the line is there."""
        pressed: list[KeyPress] = []
        parser = Vt100Parser(pressed.append)
        parser.feed_and_flush(keys)
        store_typeahead(self._session.app.input, pressed)

    @property
    def interrupted_text(self) -> str:
        """What stood in the line when Ctrl-C was pressed."""
        return self._session.default_buffer.text


class _HarmlessText(Processor):
    """Shows what a terminal would act on as a mark; prompt-toolkit itself marks control characters.

    The text that was typed or pasted stays as it is.
    """

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return a line as it is shown, in as many characters: prompt-toolkit calls this."""
        return Transformation(
            [(part[0], _marked(part[1])) for part in transformation_input.fragments]
        )


def _marked(text: str) -> str:
    if text.isascii() or sanitise(text) == text:
        return text
    return "".join(c if sanitise(c) == c or c < "\xa0" else UNSAFE_MARK for c in text)


def _key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add(Keys.Vt100MouseEvent)
    def _(event: KeyPressEvent) -> None:
        """Drop what only looks like a mouse: the end of a colour that was pasted."""

    return keys


def _session_of_terminal() -> AbstractContextManager[object]:
    """Return where a prompt is made: on a dumb terminal, one that never moves the cursor."""
    if is_dumb_terminal():
        return create_app_session(output=PlainTextOutput(sys.stdout))
    return nullcontext()
