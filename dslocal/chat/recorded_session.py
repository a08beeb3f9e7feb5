"""A session whose turns are on disk: each question before it is asked, each answer as it comes.

A process may end without notice: it is killed, runs out of memory, or loses a machine that holds a
part of the model. So the answer so far is written to disk about every second, as an answer that was
cut. The front end decides where it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass

from dslocal.errors import DslocalError
from dslocal.prompts.messages import Message

from .running_answer import PartialAnswer
from .session import Event, OnPrefill, Session
from .storage import StoredConversation

KEPT_EVERY_S = 1.0  # at least, between two times that an answer is put on disk while it comes
KEPT_SHARE = 0.02  # of the time, at most, that this takes


@dataclass(frozen=True)
class _Before:
    """The session as it was before a turn that replaces others."""

    history: list[Message]
    first_kept: int
    partial: PartialAnswer | None


class RecordedSession:
    """Keeps the conversation on disk as its session goes from turn to turn.

    Attributes:
        session: The model and the history.
        conversation: Where the history is kept.
        unanswered: A question without an answer, because of an error or a kill.
    """

    def __init__(
        self,
        session: Session,
        conversation: StoredConversation,
        on_save_error: Callable[[DslocalError], None],
    ) -> None:
        """Record ``session`` in ``conversation``.

        Args:
            session: The model and the history.
            conversation: Where the history is kept.
            on_save_error: Called where the disk refuses; the conversation continues unsaved.
        """
        self.session = session
        self.conversation = conversation
        self.unanswered: Message | None = None
        self._on_save_error = on_save_error
        self._kept = 0  # messages before the present turn
        self._before: _Before | None = None

    def begin_turn(self, question: Message, *, replaced_from: int | None = None) -> None:
        """Put ``question`` on disk, before it is asked.

        Args:
            question: What is asked.
            replaced_from: Where in the history the messages begin that the turn replaces; None
                replaces none. A question that has no answer is replaced in any case.
        """
        session = self.session
        self._before = None
        if replaced_from is not None and replaced_from < len(session.history):
            self._before = _Before(list(session.history), session.first_kept, session.partial)
            session.truncate(replaced_from)
        self._kept = len(session.history)
        self.unanswered = question
        self._save([*session.history, question])

    def stream(
        self, question: Message, seed: int, *, on_prefill: OnPrefill | None = None
    ) -> Generator[Event]:
        """Ask what :meth:`begin_turn` has put on disk; see :meth:`.Session.stream`."""
        return self._keeping(
            self.session.stream(question.content, seed, typed=question.typed, on_prefill=on_prefill)
        )

    def continue_answer(self, *, on_prefill: OnPrefill | None = None) -> Generator[Event]:
        """Continue the last answer; see :meth:`.Session.continue_answer`."""
        return self._keeping(self.session.continue_answer(on_prefill=on_prefill))

    def _keeping(self, events: Generator[Event]) -> Generator[Event]:
        """Yield ``events``, and put what came on disk meanwhile."""
        due = time.monotonic() + KEPT_EVERY_S
        with closing(events):
            for event in events:
                yield event
                began = time.monotonic()
                if began >= due:
                    self._keep_what_came()
                    ended = time.monotonic()
                    due = ended + max(KEPT_EVERY_S, (ended - began) / KEPT_SHARE)

    def _keep_what_came(self) -> None:
        """Write the answer to disk as if it ended now; if that fails, the end of the turn reports
        it."""
        outcome = self.session.interrupted()
        if outcome is not None:
            with suppress(DslocalError):
                self.conversation.save_provisionally(*outcome)

    def end_turn(self, *, has_failed: bool) -> None:
        """Write the finished turn to disk.

        Args:
            has_failed: Whether an error ended it. If no answer came, replaced messages are back,
                and a new question stays as the one without an answer.
        """
        session, before = self.session, self._before
        if len(session.history) > self._kept:
            self.unanswered = None
        elif has_failed and before is not None:
            session.history = before.history
            session.first_kept, session.partial = before.first_kept, before.partial
            self.save()
            return
        unanswered = [self.unanswered] if self.unanswered else []
        self._save([*session.history, *unanswered], session.partial)

    def save(self) -> None:
        """Put the history on disk as it is."""
        self._save(self.session.history, self.session.partial)

    def _save(self, history: list[Message], partial: PartialAnswer | None = None) -> None:
        session, conversation = self.session, self.conversation
        conversation.system = session.system
        conversation.thinking = session.thinking.value if session.thinking else ""
        conversation.effort = session.family.default_effort
        if not history and not conversation.history:
            return
        try:
            conversation.save(history, partial)
        except DslocalError as e:
            self._on_save_error(e)
