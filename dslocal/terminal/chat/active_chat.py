"""A chat at work: questions are sent, answers shown, and conversations started and resumed.

Slash commands and the loop that reads lines use it. Knows nothing of either.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text

from dslocal import chat, prompts
from dslocal.chat.resume import resume_session, save_session_cache
from dslocal.errors import DslocalError
from dslocal.terminal import pager
from dslocal.terminal.sanitise import one_line, sanitise
from dslocal.terminal.word_wrap import wrap_words

from .answer_presenter import AnswerPresenter, Events, OnPrefill, last_paragraph
from .earlier_turns import show_last_turns, turns_of
from .keys import KeyReader

ROWS_OF_INPUT = 2  # the input line, and the one below it
CONTINUED_BY = "/continue resumes it"
MAX_NAME = 40  # characters of a model's name
MAX_QUESTION = 60  # characters of a question in a message


class ModelSwitcher(Protocol):
    """Gives a session another model."""

    def names(self) -> Sequence[str]:
        """Return the models that are on this machine."""

    def switch(self, session: chat.Session, model: str, log: Callable[[str], None], /) -> str:
        """Load a model for a session.

        Args:
            session: What the model is for.
            model: A name or a file.
            log: Shows a line while that takes long.

        Returns:
            What the model is called.

        Raises:
            DslocalError: It cannot be loaded. The model before is as usable as it was.
        """


class ActiveChat:
    """The conversation that is shown, its model, and what can be done with them.

    Args:
        session: The model and its settings; its history is the conversation's.
        name: What the model is called.
        conversation: Where the conversation is kept.
        files: Files that go with the next question.
        math: Whether questions get the vendor's directive for mathematics; None decides by
            question.
        model_switcher: Loads other models; None where there is only this one.
        console: Where everything is shown.

    Attributes:
        record: Keeps the conversation on disk.
        editing: The question that the next line replaces.
        draft: What stands in the next input line already.
    """

    def __init__(
        self,
        session: chat.Session,
        name: str,
        conversation: chat.StoredConversation,
        *,
        files: Sequence[prompts.FileText] = (),
        math: bool | None = None,
        model_switcher: ModelSwitcher | None = None,
        console: Console | None = None,
    ) -> None:
        self.session = session
        self.record = chat.RecordedSession(session, conversation, self._show_save_error)
        self.files = list(files)
        self.math = math
        self.model_switcher = model_switcher
        self.editing: prompts.Message | None = None
        self.draft = ""
        self._has_explained_directive = False
        self.console = console or Console(highlight=False)
        self.model = conversation.model
        self.set_model_name(name)
        self._answers = AnswerPresenter(session, self.console, self.notify)

    @property
    def conversation(self) -> chat.StoredConversation:
        """Return where the conversation is kept."""
        return self.record.conversation

    @property
    def unanswered(self) -> prompts.Message | None:
        """Return a question without an answer, because of an error or a kill."""
        return self.record.unanswered

    def set_model_name(self, name: str) -> None:
        """Set what the model is called from now on."""
        self.name = one_line(name, MAX_NAME)

    def model_title(self) -> str:
        """Return the model's name with its family and context."""
        title = self.session.family.title
        named = title if title.startswith(self.name) else f"{self.name}, {title}"
        context = self.session.context
        place = f"; text goes to {context.destination}" if context.destination else ""
        return f"{named}: {context.n_ctx:,} tokens of context{place}"

    def notify(self, text: str) -> None:
        """Show a line of the chat's own, dim."""
        self.console.print(Text(sanitise(text), style="dim"))

    def show_page(self, lines: Sequence[str]) -> None:
        """Show lines of the chat's own, in the user's pager where they are more than a screen."""
        rows = sum(-(-max(len(line), 1) // max(self.console.width, 1)) for line in lines)
        text = "".join(f"{sanitise(line)}\n" for line in lines)
        wrapped = wrap_words(text, self.console.width)
        if rows < self.console.height - ROWS_OF_INPUT or not pager.page(wrapped):
            for line in lines:
                self.notify(line)

    # Questions and answers

    def ask(self, text: str) -> None:
        """Ask a question with the files that wait for it, and show the answer.

        The vendor's directive for mathematics is added where it belongs. While a question is being
        edited, the new one takes its place, with the files that went with it.
        """
        question = prompts.compose_question(
            self.session.family, text, files=self.files, math=self.math
        )
        edited, self.editing = self.editing, None
        self.files.clear()
        for note in question.notes:
            self.notify(note)
        if question.directive and not self._has_explained_directive:
            self._has_explained_directive = True
            self.notify(
                "the vendor's request for a boxed answer was added (/set math off turns it off)"
            )
        if advice := prompts.directive_advice(self.session.family, text, self.math):
            self.notify(advice)
        content = (edited.before_typed if edited else "") + question.text
        self.send(
            prompts.Message("user", content, typed=text), replaces_last_turn=edited is not None
        )

    def send(self, question: prompts.Message, *, replaces_last_turn: bool = False) -> None:
        """Send a question as it is, and show the answer; Ctrl-C ends it and keeps what came.

        Raises:
            DslocalError: No answer came. The last turn is as it was, and a new question is kept as
                ``unanswered``.
        """
        session = self.session
        seed = int.from_bytes(os.urandom(4), "little")
        replaces = replaces_last_turn and self.unanswered is None
        last = session.last_question if replaces else None
        self.record.begin_turn(question, replaced_from=last)
        has_failed = False
        try:
            self._show_answer(
                lambda on_prefill: self.record.stream(question, seed, on_prefill=on_prefill)
            )
        except DslocalError:
            has_failed = True
            raise
        finally:
            self.record.end_turn(has_failed=has_failed)

    def continue_answer(self) -> None:
        """Continue an answer that was cut; it is shown from the paragraph on that was cut."""
        cut = self.session.history[-1] if self.session.is_unfinished else None
        try:
            self._show_answer(
                lambda on_prefill: self.record.continue_answer(on_prefill=on_prefill),
                repeated=last_paragraph(cut.content) if cut else "",
            )
        finally:
            self.record.save()

    def last_answer(self) -> prompts.Message | None:
        """Return the last answer of the conversation, None before the first one."""
        for message in reversed(self.session.history):
            if message.role == "assistant":
                return message
        return None

    def _show_answer(self, start: Callable[[OnPrefill], Events], *, repeated: str = "") -> None:
        """Show an answer, and keep what is typed meanwhile for the next line.

        Raises:
            DslocalError: It failed. Where something had come, the hint says how to continue.
        """
        keys = KeyReader(self.session.end_reasoning)
        before = self.session.history
        try:
            self._answers.show(start, keys, repeated=repeated)
        except DslocalError as e:
            if self.session.history is not before and self.session.is_unfinished:
                e.hint = "; ".join(filter(None, (e.hint, CONTINUED_BY)))
            raise
        finally:
            self.draft = keys.typed_text

    # Conversations

    def start_conversation(self) -> None:
        """Start a new conversation, with the same model and instructions."""
        self.close_conversation()
        self.session.truncate()
        self.session.turn = None
        self.record.unanswered = None
        self.editing = None
        self.record.conversation = chat.new_conversation(self.model)

    def resume_conversation(self, stored: chat.StoredConversation) -> None:
        """Resume a conversation, or a copy of it where another process has it open."""
        self.close_conversation()
        self.record.unanswered = resume_session(self.session, stored)
        self.editing = None
        reason = f"{stored.id} is open in another terminal"
        try:
            if stored.lock():
                self.record.conversation = stored
                return
        except DslocalError as e:
            reason = str(e)
        self.notify(f"{reason}: this chat continues with a copy")
        self.record.conversation = stored.copy()
        self.record.save()

    def close_conversation(self) -> None:
        """Unlock the conversation, so that any process can resume it."""
        save_session_cache(self.session, self.conversation)
        self.conversation.close()

    def describe_conversation(self) -> None:
        """Show where a conversation that is resumed stands."""
        session = self.session
        questions = sum(message.role == "user" for message in session.history)
        began = time.strftime("%d %B, %H:%M", time.localtime(self.conversation.began))
        self.notify(
            f"continuing the conversation of {began}:"
            f" {questions} question{'' if questions == 1 else 's'}"
        )
        show_last_turns(self.console, turns_of(session.history), self.notify)
        if self.unanswered:
            asked = one_line(self.unanswered.typed or self.unanswered.content, MAX_QUESTION)
            self.notify(f"the last question has no answer: {asked} (/retry asks it)")
        elif session.is_unfinished:
            self.notify("the last answer was cut (/continue resumes it)")

    def _show_save_error(self, error: DslocalError) -> None:
        self.notify(f"{error} ({error.hint})")
