"""Slash commands about the last turn: asked again, edited, continued, taken back, copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal import prompts
from dslocal.errors import UsageError
from dslocal.terminal import clipboard
from dslocal.terminal.sanitise import one_line, sanitise

from .earlier_turns import show_turns, turns_of
from .export import last_code

if TYPE_CHECKING:
    from .completion import Suggestions
    from .loop import ChatLoop

MAX_QUESTION = 60  # characters of a question in a message
COPY_CHOICES = {"code": "its last block of code", "reasoning": "its reasoning"}


def retry(loop: ChatLoop, _: str) -> None:
    """/retry: ask the last question again."""
    loop.send(_last_question(loop, "/retry"), replaces_last_turn=True)


def edit(loop: ChatLoop, _: str) -> None:
    """/edit: put the last question into the next input line, which replaces it."""
    question = _last_question(loop, "/edit")
    loop.editing = question
    loop.draft = sanitise(question.typed or question.content)
    loop.notify(
        "edit the question and press Enter to replace the last one; an empty line changes nothing"
    )


def continue_answer(loop: ChatLoop, _: str) -> None:
    """/continue: continue an answer that was cut."""
    if loop.unanswered:
        raise UsageError("/continue: the last question has no answer yet", hint="/retry asks it")
    loop.continue_answer()


def undo(loop: ChatLoop, _: str) -> None:
    """/undo: take back the last question and its answer."""
    question = loop.unanswered or loop.session.remove_last_turn()
    if question is None:
        raise UsageError("/undo: the conversation has no turn to take back")
    loop.record.unanswered = None
    loop.record.save()
    loop.notify(f"taken back: {one_line(question.typed or question.content, MAX_QUESTION)}")


def show_history(loop: ChatLoop, text: str) -> None:
    """/history: show the conversation again, or the last of its turns."""
    turns = turns_of(loop.session.history)
    if not turns:
        raise UsageError("/history: the conversation has no answer yet")
    if text and not (text.isascii() and text.isdecimal() and int(text)):
        raise UsageError(f"/history {text:.40}: how many questions, or nothing for all")
    show_turns(loop.console, turns[-int(text) :] if text else turns)


def copy(loop: ChatLoop, choice: str) -> None:
    """/copy: put the last answer, its code or its reasoning into the clipboard."""
    answer = loop.last_answer()
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
    way = clipboard.copy(text, loop.console.file)  # type: ignore[arg-type]
    loop.notify(f"{what} copied, {len(text):,} characters, {way}")


def suggest_copy_choices(loop: ChatLoop, typed: str) -> Suggestions:
    """Return what can be copied instead of the whole answer."""
    return [] if " " in typed else list(COPY_CHOICES.items())


def _last_question(loop: ChatLoop, command: str) -> prompts.Message:
    if loop.unanswered:
        return loop.unanswered
    asked = [message for message in loop.session.history if message.role == "user"]
    if not asked:
        raise UsageError(f"{command}: nothing has been asked yet")
    return asked[-1]
