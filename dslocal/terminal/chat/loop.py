"""The chat loop: a line typed, a command run or an answer streamed, until the user leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console

from dslocal import chat, home, output, prompts
from dslocal.chat.resume import resume_session, save_session_cache
from dslocal.errors import DslocalError
from dslocal.terminal.sanitise import one_line, sanitise

from . import commands, toolbar
from .answer_view import AnswerView
from .completion import CommandCompleter
from .input_line import InputLine, history_in
from .keys import ANSWER_NOW_KEY_NAME, KeyReader

FIRST_USE = (
    "Enter asks; Alt-Enter begins a new line, and many lines can be pasted at once.",
    f"Ctrl-C stops an answer, {ANSWER_NOW_KEY_NAME} ends its thinking, Ctrl-D leaves; / has the rest.",
    "Nothing leaves this machine. Chats are kept on it: dslocal sessions lists them.",
)
HINT = f"{ANSWER_NOW_KEY_NAME} answers now, Ctrl-C stops"
Events = Generator[chat.Event]


class ModelSwitcher(Protocol):
    """Whoever can put another model before a session."""

    def names(self) -> Sequence[str]:
        """Models that are on this machine."""

    def switch(self, session: chat.Session, model: str, say: Callable[[str], None]) -> str:
        """Loads ``model`` for ``session``, and returns what it is called. Raises DslocalError, with
        the old model as usable as before.
        """


@dataclass
class _Clock:
    """Whether the model is thinking, and for how long the answer has been coming."""

    thinking: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class ChatLoop:
    """One conversation after the other. ``files`` go with the next question; ``math`` decides on
    the directive for mathematics, None by question. ``unanswered`` is a question that nothing came
    of."""

    def __init__(
        self,
        session: chat.Session,
        name: str,
        saved: chat.StoredConversation,
        *,
        files: Sequence[Path] = (),
        math: bool | None = None,
        model_switcher: ModelSwitcher | None = None,
        unanswered: prompts.Message | None = None,
        console: Console | None = None,
        prompt: InputLine | None = None,
    ) -> None:
        self.session, self.conversation, self.files, self.math, self.model_switcher = (
            session,
            saved,
            list(files),
            math,
            model_switcher,
        )
        self.unanswered = unanswered
        self.editing: prompts.Message | None = None
        self.draft = ""  # what stands in the next input line already
        self.console = console or Console(highlight=False)
        self.model = saved.model
        self.set_model_name(name)
        self._prompt = prompt or InputLine(
            history_in(home.state_dir()), self.completer(), self.toolbar
        )

    def set_model_name(self, name: str) -> None:
        """The model is called ``name`` from now on."""
        self.name = one_line(name, 40)

    def model_title(self) -> str:
        """The model with its family and context."""
        title = self.session.family.title
        named = title if title.startswith(self.name) else f"{self.name}, {title}"
        return f"{named}: {self.session.context.n_ctx:,} tokens of context"

    def completer(self) -> CommandCompleter:
        known = {name: command.help for name, command in commands.COMMANDS.items()}
        return CommandCompleter(
            known, lambda name, typed: commands.suggestions_for(self, name, typed)
        )

    def run(self) -> None:
        """Returns when the user leaves: Ctrl-D, /exit, or Ctrl-C twice on an empty line."""
        self._greet()
        leaving = False
        while True:
            try:
                line = self._next_line()
                leaving = False
                if line:
                    self.handle_line(line)
            except EOFError:
                return
            except KeyboardInterrupt:
                if self._prompt.left.strip():
                    leaving = False  # it cleared the line
                elif leaving:
                    return
                else:
                    leaving = True
                    self.notify("Ctrl-C again leaves")

    def handle_line(self, line: str) -> None:
        """Does what ``line`` says: a command, or a question. Errors are said. Raises EOFError to
        leave.
        """
        try:
            if line.startswith("/") and not line.startswith("//"):
                self.editing = None
                commands.run(self, line)
            else:
                text = line.removeprefix("/" if line.startswith("//") else "")
                self.ask(text)
        except DslocalError as e:
            self.notify(f"{e}" + (f" ({e.hint})" if e.hint else ""))

    def ask(self, text: str) -> None:
        """Asks ``text``, with the files that wait and the makers' directive where it belongs, and
        shows the answer.

        While a question is being edited, it takes that one's place, with the files that went with
        it.
        """
        question = prompts.compose_question(
            self.session.family, text, files=self.files, math=self.math
        )
        replaced, beside = self.editing, ""
        self.editing = None
        if replaced and replaced.typed:
            beside = replaced.content[: max(0, replaced.content.rfind(replaced.typed))]
        self.files.clear()
        if question.directive:
            self.notify("asked for a boxed answer, step by step (/set math off leaves that out)")
        if departure := prompts.directive_advice(self.session.family, text, self.math):
            self.notify(departure)
        self.send(
            prompts.Message("user", beside + question.text, typed=text),
            replacing=replaced is not None,
        )

    def send(self, question: prompts.Message, *, replacing: bool = False) -> None:
        """Sends ``question`` as it is and shows the answer; Ctrl-C ends it and keeps what came.
        ``replacing`` the last turn.
        """
        session, seed = self.session, int.from_bytes(os.urandom(4), "little")
        before, first, begun = list(session.history), session.first_kept, session.partial
        if replacing and self.unanswered is None:
            session.remove_last_turn()
        kept, self.unanswered = len(session.history), question
        self._record([*session.history, question])
        try:
            self._show(
                lambda told: session.stream(
                    question.content, seed, typed=question.typed, on_prefill=told
                )
            )
        except DslocalError:
            if replacing and len(session.history) == kept:
                session.history, session.first_kept, session.partial = before, first, begun
            raise
        finally:
            if len(session.history) > kept:
                self.unanswered = None
            self.record()

    def continue_answer(self) -> None:
        """Goes on with the answer that was cut, and shows it from the paragraph on in which that
        was.
        """
        cut = self.session.history[-1] if self.session.is_unfinished else None
        shown = _last_paragraph(cut.content) if cut else ""
        try:
            self._show(lambda told: self.session.continue_answer(on_prefill=told), shown)
        finally:
            self.record()

    def record(self) -> None:
        """Puts the conversation on disk as it is."""
        self._record(self.session.history, self.session.partial)

    def close_conversation(self) -> None:
        """Lets go of the conversation, so that it can be taken up again."""
        save_session_cache(self.session, self.conversation)
        self.conversation.close()

    def resume_conversation(self, saved: chat.StoredConversation) -> None:
        """Takes up ``saved``, or a copy of it where another process has it open."""
        self.close_conversation()
        self.unanswered, self.editing = resume_session(self.session, saved), None
        if saved.lock():
            self.conversation = saved
            return
        self.notify(f"{saved.id} is open in another terminal: this goes on with a copy")
        history, begun, self.conversation = saved.history, saved.partial, saved.copy()
        self._record(history, begun)

    def start_conversation(self) -> None:
        """A conversation without a past, with the same model and instructions."""
        self.close_conversation()
        self.session.truncate()
        self.session.turn, self.unanswered, self.editing = None, None, None
        self.conversation = chat.new_conversation(self.model)

    def notify(self, text: str) -> None:
        """The chat's own voice, dim."""
        self.console.print(commands.dim(sanitise(text)))

    def toolbar(self, width: int) -> str:
        found = toolbar.toolbar_parts(
            self.session, self.name, len(self.files), editing=self.editing is not None
        )
        return toolbar.fit_parts(found, width)

    def describe_conversation(self) -> None:
        """Says where a conversation that is taken up stands."""
        session = self.session
        questions = sum(message.role == "user" for message in session.history)
        began = time.strftime("%d %B, %H:%M", time.localtime(self.conversation.began))
        self.notify(
            f"going on with the conversation of {began}: {questions} question{'' if questions == 1 else 's'}"
        )
        if self.unanswered:
            self.notify(
                f"the last question has no answer: {one_line(self.unanswered.typed or self.unanswered.content, 60)} (/retry asks it)"
            )
        elif session.is_unfinished:
            self.notify("the last answer was cut (/continue goes on with it)")

    def _greet(self) -> None:
        self.notify(f"{self.model_title()}. /help lists commands.")
        if not home.read_state("chat"):
            for line in FIRST_USE:
                self.notify(line)
            home.write_state("chat", {"explained": True})
        if self.session.history or self.unanswered:
            self.describe_conversation()

    def _next_line(self) -> str:
        repair = chat.Repair(self.session.context, self.session.certain_ids())
        draft, self.draft = self.draft, ""
        repair.start()
        try:
            return self._prompt.ask(draft).strip()
        finally:
            repair.stop()

    def _show(self, start: Callable[[Callable[[int, int], None]], Events], shown: str = "") -> None:
        """Shows an answer as it comes; ``shown`` is text of it that is shown once more. Ctrl-C ends
        it.
        """
        session = self.session
        keys, clock = KeyReader(session.end_reasoning), _Clock()
        try:
            with (
                keys,
                AnswerView(self.console, HINT if keys.read else "") as view,
                closing(start(view.show_prefill)) as events,
            ):
                if shown:
                    view.add_answer(sanitise(shown))
                self._follow(events, view, clock)
        except KeyboardInterrupt:
            if clock.thinking:
                self.notify(
                    f"thought for {clock.seconds:.1f} s, {self._reasoning_tokens():,} tokens; /think shows it"
                )
            self.notify("interrupted" + ("; /continue goes on" if session.is_unfinished else ""))
            return
        finally:
            self.draft = keys.typed
        turn = session.turn
        if clock.thinking and not session.is_unfinished:
            self.notify(
                "the model stopped in the midst of its thought (/think shows it, /retry asks again)"
            )
        if turn and turn.loop:
            self.notify(f"the model repeats itself: {turn.loop} (a higher temperature helps)")
        if turn and turn.is_cut:
            self.notify(f"cut after {turn.completion_tokens:,} tokens; /continue goes on")

    def _follow(self, events: Events, view: AnswerView, clock: _Clock) -> None:
        for event in events:
            match event:
                case output.Reasoning(part):
                    clock.thinking = True
                    view.add_reasoning(part)
                case output.Text(part):
                    if clock.thinking:
                        clock.thinking = False
                        view.end_reasoning(self._reasoning_tokens(), clock.seconds)
                    view.add_answer(part)
                case output.Reclassified():
                    view.reclassify()
                    clock.thinking = True
                case chat.HistoryTrimmed(turns):
                    self.notify(
                        f"the context is full: the oldest {turns} turn{'s' if turns > 1 else ''} left out"
                    )

    def _record(
        self, history: Sequence[prompts.Message], begun: chat.PartialAnswer | None = None
    ) -> None:
        """Puts ``history`` on disk. Where that cannot be done, it is said."""
        session, saved = self.session, self.conversation
        saved.system, saved.thinking = (
            session.system,
            session.thinking.value if session.thinking else "",
        )
        if not history and not saved.history:
            return
        try:
            saved.save(history, begun)
        except DslocalError as e:
            self.notify(f"{e} ({e.hint})")

    def _reasoning_tokens(self) -> int:
        return self.session.turn.reasoning_tokens if self.session.turn else 0


def _last_paragraph(text: str) -> str:
    """The end of ``text`` that what follows belongs to: its last paragraph, or all of the code that
    is open.
    """
    fence = text.rfind("```")
    if text.count("```") % 2:
        return text[text.rfind("\n", 0, fence) + 1 :]
    return text[text.rfind("\n\n") + 1 :].lstrip("\n") if "\n\n" in text else text
