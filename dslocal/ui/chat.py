"""The chat loop: a line typed, a command run or an answer streamed, until the user leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from .. import chat, hub
from ..errors import DslocalError
from . import commands
from .stream import AnswerView
from .terminal import one_line, sanitise

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession


class ChatLoop:
    """One conversation. ``files`` go with the next question; ``math`` decides on the directive for mathematics, None by question."""

    def __init__(
        self, session: chat.Session, name: str, saved: chat.Saved, *, files: Sequence[Path] = (), math: bool | None = None
    ) -> None:
        self.session, self.saved, self.files, self.math = session, saved, list(files), math
        self.last_sent: str | None = None
        self._name = one_line(name, 40)
        self._console = Console(highlight=False)

    def run(self) -> None:
        """Returns when the user leaves: Ctrl-D, /exit, or Ctrl-C twice on an empty line."""
        prompt = _prompt_session(self._toolbar)
        title = self.session.family.title
        named = title if title.startswith(self._name) else f"{self._name}, {title}"
        self.say(f"{named}: {self.session.context.n_ctx:,} tokens of context. /help lists commands.")
        if self.session.history:
            questions = sum(message.role == "user" for message in self.session.history)
            began = time.strftime("%d %B, %H:%M", time.localtime(self.saved.began))
            self.say(f"going on with the conversation of {began}: {questions} question{'s' if questions > 1 else ''}")
        leaving = False
        while True:
            try:
                repair = chat.Repair(self.session.context, self.session.certain())
                repair.start()
                try:
                    line = prompt.prompt("› ").strip()
                finally:
                    repair.stop()
                leaving = False
                if line.startswith("/") and not line.startswith("//"):
                    commands.run(self, line)
                elif line:
                    self.ask(line.removeprefix("/" if line.startswith("//") else ""))
            except DslocalError as e:
                self.say(f"{e}" + (f" ({e.hint})" if e.hint else ""))
            except EOFError:
                return
            except KeyboardInterrupt:
                if leaving:
                    return
                leaving = True
                self.say("Ctrl-C again leaves")

    def ask(self, text: str) -> None:
        """Asks ``text``, with the files that wait and the makers' directive where it belongs, and shows the answer."""
        question = chat.compose(self.session.family, text, files=self.files, math=self.math)
        self.files.clear()
        if question.directive:
            self.say("asked for a boxed answer, step by step (/set math off leaves that out)")
        if departure := chat.departs(self.session.family, text, self.math):
            self.say(departure)
        self.send(question.text)

    def send(self, text: str) -> None:
        """Sends ``text`` as it is and shows the answer; Ctrl-C ends it and keeps what came."""
        self.last_sent = text
        seed = int.from_bytes(os.urandom(4), "little")
        began = time.monotonic()
        thought = False
        try:
            with AnswerView(self._console) as view, closing(self.session.stream(text, seed, on_prefill=view.reading)) as events:
                for event in events:
                    match event:
                        case chat.Reasoning(part):
                            thought = True
                            view.reasoning(part)
                        case chat.Answer(part):
                            if thought:
                                thought = False
                                view.thought(self._reasoning_tokens(), time.monotonic() - began)
                            view.answer(part)
                        case chat.Reclassified():
                            view.reclassified()
                            thought = True
                        case chat.Dropped(turns):
                            self.say(f"the context is full: the oldest {turns} turn{'s' if turns > 1 else ''} left out")
        except KeyboardInterrupt:
            if thought:
                self.say(f"thought for {time.monotonic() - began:.1f} s, {self._reasoning_tokens():,} tokens; /think shows it")
            self.say("interrupted")
            return
        finally:
            self._save()
        turn = self.session.turn
        if turn and turn.loop:
            self.say(f"the model repeats itself: {turn.loop} (a higher temperature helps)")
        if turn and turn.finish_reason and turn.finish_reason.value == "length":
            self.say(f"cut after {turn.completion_tokens:,} tokens")

    def _save(self) -> None:
        """Puts what was said on disk, if anything was."""
        session, saved = self.session, self.saved
        if session.history == saved.history:
            return
        saved.history = list(session.history)
        saved.system, saved.thinking = session.system, session.thinking.value if session.thinking else ""
        saved.write()

    def say(self, text: str) -> None:
        """The chat's own voice, dim."""
        self._console.print(commands.dim(sanitise(text)))

    def _reasoning_tokens(self) -> int:
        return self.session.turn.reasoning_tokens if self.session.turn else 0

    def _toolbar(self) -> str:
        session = self.session
        used = len(session.context.ids)
        parts = [self._name, f"context {used:,} of {session.context.n_ctx:,}"]
        if session.turn and session.turn.tokens_per_s:
            parts.append(f"{session.turn.tokens_per_s:,.0f} tokens/s")
        if session.thinking and session.thinking is not session.family.thinking:
            parts.append(f"thinking {session.thinking.value}")
        if self.files:
            parts.append(f"{len(self.files)} file{'s' if len(self.files) > 1 else ''} attached")
        return "  ·  ".join(parts)


def _prompt_session(toolbar: Callable[[], str]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    history: History = InMemoryHistory()
    try:
        folder = hub.state_dir()
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / "history", os.O_CREAT | os.O_APPEND, 0o600))
        history = FileHistory(str(folder / "history"))
    except OSError:
        pass
    completer = WordCompleter([f"/{name}" for name in commands.COMMANDS], sentence=True)
    return PromptSession(history=history, completer=completer, complete_while_typing=True, key_bindings=bindings, bottom_toolbar=toolbar)
