"""Slash commands that ask the last turn again, edit, continue, take back or copy it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal import prompts
from dslocal.errors import UsageError
from dslocal.files import whole_number
from dslocal.terminal import clipboard
from dslocal.terminal.chat.earlier_turns import show_turns, turns_of
from dslocal.terminal.chat.export import last_code
from dslocal.terminal.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from dslocal.terminal.chat.active_chat import ActiveChat
    from dslocal.terminal.chat.completion import Suggestions

MAX_QUESTION = 60  # characters of a question in a message
COPY_CHOICES = {"code": "its last block of code", "reasoning": "its reasoning"}


def retry(active: ActiveChat, _: str) -> None:
    """/retry: ask the last question again."""
    active.send(_last_question(active, "/retry"), replaces_last_turn=True)


def edit(active: ActiveChat, _: str) -> None:
    """/edit: put the last question into the next input line, which replaces it."""
    question = _last_question(active, "/edit")
    active.editing = question
    active.draft = sanitise(question.typed or question.content)
    active.notify(
        "edit the question and press Enter to replace the last one; an empty line changes nothing"
    )


def continue_answer(active: ActiveChat, _: str) -> None:
    """/continue: continue an answer that was cut."""
    if active.unanswered:
        raise UsageError("/continue: the last question has no answer yet", hint="/retry asks it")
    active.continue_answer()


def undo(active: ActiveChat, _: str) -> None:
    """/undo: take back the last question and its answer."""
    question = active.unanswered or active.session.remove_last_turn()
    if question is None:
        raise UsageError("/undo: the conversation has no turn to take back")
    active.record.unanswered = None
    active.record.save()
    active.notify(f"taken back: {one_line(question.typed or question.content, MAX_QUESTION)}")


def show_history(active: ActiveChat, text: str) -> None:
    """/history: show the conversation again, or the last of its turns."""
    turns = turns_of(active.session.history)
    if not turns:
        raise UsageError("/history: the conversation has no answer yet")
    count = whole_number(text) if text else len(turns)
    if not count:
        raise UsageError(f"/history {text:.40}: how many questions, or nothing for all")
    show_turns(active.console, turns[-count:])


def copy(active: ActiveChat, choice: str) -> None:
    """/copy: put the last answer, its code or its reasoning into the clipboard."""
    answer = active.last_answer()
    if answer is None:
        raise UsageError("/copy: the conversation has no answer yet")
    match choice:
        case "":
            what, text = "the last answer", answer.content
        case "code":
            what, text = COPY_CHOICES[choice], last_code(answer.content) or ""
        case "reasoning":
            what, text = COPY_CHOICES[choice], answer.reasoning
        case _:
            choices = ", ".join(COPY_CHOICES)
            raise UsageError(f"/copy {choice:.40}: {choices}, or nothing for the last answer")
    if not text:
        raise UsageError(f"/copy: the last answer has no {choice or 'text'}")
    way = clipboard.copy(text, active.console.file)  # type: ignore[arg-type]
    active.notify(f"{what} copied, {len(text):,} characters, {way}")


def suggest_copy_choices(active: ActiveChat, typed: str) -> Suggestions:
    """Return what can be copied instead of the whole answer."""
    return [] if " " in typed else list(COPY_CHOICES.items())


def _last_question(active: ActiveChat, command: str) -> prompts.Message:
    if active.unanswered:
        return active.unanswered
    asked = [message for message in active.session.history if message.role == "user"]
    if not asked:
        raise UsageError(f"{command}: nothing has been asked yet")
    return asked[-1]
