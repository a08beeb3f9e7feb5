"""A chat loop on the real nano that writes into a text instead of a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from dslocal.chat import Session, new_conversation
from dslocal.engine import LlamaContext
from dslocal.errors import NotFoundError
from dslocal.prompts.families.nano import NANO
from dslocal.terminal.chat.input_line import InputLine, open_history
from dslocal.terminal.chat.loop import ChatLoop


class TwoModels:
    """Knows the models nano and other; switching to either leaves nano loaded."""

    def names(self) -> Sequence[str]:
        return ["nano", "other"]

    def switch(self, session: Session, model: str, say: Callable[[str], None]) -> str:
        if model not in self.names():
            raise NotFoundError(f"no model or file called {model!r}", hint="here: nano, other")
        say("loaded")
        return model


class Loop(ChatLoop):
    """A chat loop that remembers what it wrote since it was last asked."""

    def __init__(self, context: LlamaContext, folder: Path) -> None:
        session = Session(context, NANO, NANO.defaults.with_value("temperature", 0, "test"))
        self.words = io.StringIO()
        self._folder = folder
        super().__init__(
            session,
            "nano",
            new_conversation("nano"),
            console=Console(file=self.words, width=100, highlight=False),
            model_switcher=TwoModels(),
        )

    def make_input_line(self) -> InputLine:
        return InputLine(
            open_history(self._folder, lambda: self.conversation.id),
            self.make_completer(),
            self.toolbar,
            input=DummyInput(),
            output=DummyOutput(),
        )

    def said(self, line: str = "") -> str:
        """Return what is written in reply to ``line``, with single spaces."""
        self.words.seek(0)
        self.words.truncate()
        if line:
            self.handle_line(line)
        return " ".join(self.words.getvalue().split())
