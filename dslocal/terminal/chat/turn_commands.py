"""Slash commands about the last turn: asked again, edited, gone on with, taken back, copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal import prompts
from dslocal.errors import UsageError
from dslocal.terminal import clipboard
from dslocal.terminal.sanitise import one_line, sanitise

from .export import last_code

if TYPE_CHECKING:
    from .loop import ChatLoop


def retry(loop: ChatLoop, _: str) -> None:
    question = _last_question(loop, "/retry")
    loop.send(question, replacing=True)


def edit(loop: ChatLoop, _: str) -> None:
    question = _last_question(loop, "/edit")
    loop.editing, loop.draft = question, sanitise(question.typed or question.content)
    loop.notify(
        "edit the question, and Enter asks it in place of the last; an empty line leaves all as it is"
    )


def go_on(loop: ChatLoop, _: str) -> None:
    if loop.unanswered:
        raise UsageError("/continue: the last question has no answer yet", hint="/retry asks it")
    loop.continue_answer()


def undo(loop: ChatLoop, _: str) -> None:
    question = loop.unanswered or loop.session.remove_last_turn()
    if question is None:
        raise UsageError("/undo: there is no turn to take back")
    loop.unanswered = None
    loop.record()
    loop.notify(f"taken back: {one_line(question.typed or question.content, 60)}")


def copy(loop: ChatLoop, what: str) -> None:
    answer = next(
        (message for message in reversed(loop.session.history) if message.role == "assistant"), None
    )
    if answer is None:
        raise UsageError("/copy: there is no answer yet")
    if what not in COPIED:
        raise UsageError(
            f"/copy {what:.40}: {', '.join(word for word in COPIED if word)}, or nothing for the last answer"
        )
    texts = {
        "": answer.content,
        "code": last_code(answer.content) or "",
        "thought": answer.reasoning,
    }
    if not texts[what]:
        raise UsageError(f"/copy: the last answer has no {what or 'text'}")
    way = clipboard.copy(texts[what], loop.console.file)  # type: ignore[arg-type]
    loop.notify(f"{COPIED[what]} copied, {len(texts[what]):,} characters, {way}")


COPIED = {"": "the last answer", "code": "its last block of code", "thought": "its thought"}


def _last_question(loop: ChatLoop, command: str) -> prompts.Message:
    if loop.unanswered:
        return loop.unanswered
    asked = [message for message in loop.session.history if message.role == "user"]
    if not asked:
        raise UsageError(f"{command}: nothing has been asked yet")
    return asked[-1]
