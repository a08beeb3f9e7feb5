"""The chat loop: it reads a line, and runs a command or asks a question, until the user leaves.

Handles Ctrl-C at the input line. While an answer streams, :mod:`.answer_presenter` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

from dslocal import chat, home
from dslocal.errors import DslocalError, NotFoundError, Terminated

from . import toolbar
from .active_chat import ActiveChat
from .commands import command_table
from .completion import CommandCompleter
from .input_line import InputLine, open_history
from .keys import ANSWER_NOW_KEY_NAME

FIRST_USE = (
    "Enter sends; Alt-Enter starts a new line, and you can paste several lines.",
    f"Ctrl-C stops an answer, {ANSWER_NOW_KEY_NAME} ends its reasoning, Ctrl-D leaves;"
    " / lists more.",
    "Chats are kept on this machine: dslocal sessions lists them.",
)
NOTHING_LEAVES = "Nothing leaves this machine."


class ChatLoop(ActiveChat):
    """Reads lines, and does what they say: one conversation after the other.

    Attributes:
        introduction: Lines on the model that are shown first.
    """

    introduction: Sequence[str] = ()
    _next_ids = 0  # tokens that the next prompt begins with

    @cached_property
    def _input_line(self) -> InputLine:
        return self.make_input_line()

    def make_input_line(self) -> InputLine:
        """Return the line that questions and commands are typed into."""
        history = open_history(home.state_dir(), lambda: self.conversation.id)
        return InputLine(history, self.make_completer(), self.toolbar)

    def make_completer(self) -> CommandCompleter:
        """Return what completes commands and their arguments."""
        helps = {name: command.help for name, command in command_table.COMMANDS.items()}
        return CommandCompleter(
            helps, lambda name, typed: command_table.suggestions_for(self, name, typed)
        )

    def toolbar(self, width: int) -> str:
        """Return what stands below the input, in at most ``width`` cells."""
        parts = toolbar.toolbar_parts(
            self.session,
            self.name,
            len(self.files),
            is_editing=self.editing is not None,
            used=max(len(self.session.context.ids), self._next_ids),
        )
        return toolbar.fit_parts(parts, width)

    def press(self, keys: str) -> None:
        """Read ``keys``, which were pressed before the chat began, into its first lines."""
        self._input_line.press(keys)

    def run(self) -> None:
        """Chat until the user leaves: Ctrl-D, /exit, or Ctrl-C twice on an empty line."""
        self._greet()
        is_leaving = False
        while True:
            try:
                line = self._read_line()
                is_leaving = False
                if line:
                    self.handle_line(line)
                else:
                    self._stop_editing()
            except EOFError:
                break
            except Terminated:
                raise
            except KeyboardInterrupt:
                if self._input_line.interrupted_text.strip():
                    is_leaving = False  # Ctrl-C cleared the line
                    self._stop_editing()
                elif is_leaving:
                    break
                else:
                    is_leaving = True
                    self.notify("press Ctrl-C again to exit")
        self._take_leave()

    def _stop_editing(self) -> None:
        """Leave the last question as it is, if it was being edited."""
        if self.editing is not None:
            self.editing = None
            self.notify("the last question is unchanged")

    def _greet(self) -> None:
        self.notify(f"{self.model_title()}. /help lists commands.")
        for line in self.introduction:
            self.notify(line)
        if not home.read_state("chat"):
            for line in FIRST_USE:
                self.notify(line)
            if not self.session.context.destination:
                self.notify(NOTHING_LEAVES)
            home.write_state("chat", {"explained": True})
        if self.session.history or self.unanswered:
            self.describe_conversation()

    def _take_leave(self) -> None:
        """Show how this conversation is continued, where it is kept and something was asked."""
        if not self.conversation.questions:
            return
        with suppress(NotFoundError):  # its file was deleted meanwhile
            is_last = chat.last_conversation().id == self.conversation.id
            id = "" if is_last else f" {self.conversation.id}"
            with_options = ", with the same options" if self.session.context.destination else ""
            self.notify(f"continue it{with_options}: dslocal chat --resume{id}")

    def _read_line(self) -> str:
        """Return the next line; meanwhile the KV cache is made ready for it."""
        certain_ids = self.session.certain_ids()
        self._next_ids = len(certain_ids)
        repair = chat.Repair(self.session.context, certain_ids)
        draft, self.draft = self.draft, ""
        repair.start()
        try:
            return self._input_line.read(draft).strip()
        finally:
            repair.stop()

    def handle_line(self, line: str) -> None:
        """Run a command, or ask a question; ``//`` begins a question with a slash.

        Errors are shown.

        Raises:
            EOFError: The user leaves.
        """
        line = command_table.bare_command(line) or line
        try:
            if hint := command_table.shell_hint(line):
                self.notify(hint)
            elif line.startswith("/") and not line.startswith("//"):
                self.editing = None
                command_table.run(self, line)
            else:
                self.ask(line[1:] if line.startswith("//") else line)
        except DslocalError as e:
            self.notify(f"{e} ({e.hint})" if e.hint else str(e))
        except OSError as e:  # of a path that nothing above made a message of
            self.notify(f"{e.filename}: {e.strerror}" if e.filename else str(e))
