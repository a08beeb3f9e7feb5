"""One turn of a conversation: from what the page sent to a session that can generate the answer.

For threads: conversations are files, and a long prompt takes a while to tokenize.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from dslocal import chat, prompts
from dslocal.chat.resume import resume_history
from dslocal.errors import DslocalError, UsageError
from dslocal.server.preparation.prepared_request import PreparedRequest
from dslocal.server.preparation.requests import ServedModel, with_setting
from dslocal.server.wire.errors import ApiError

from .requests import AnswerRequest

OnPrefill = Callable[[int, int], None]


@dataclass(frozen=True)
class Beginning:
    """Where in a conversation a turn begins.

    Attributes:
        kept: How many messages stand before it.
        question: The question, None where an answer is continued.
        cut: The answer that is continued.
    """

    kept: int
    question: prompts.Message | None
    cut: prompts.Message | None = None


def find_beginning(stored: chat.StoredConversation, request: AnswerRequest) -> Beginning:
    """Return where the turn begins that ``request`` asks for.

    Raises:
        ApiError: 400 where the conversation has no such place, or there is nothing to ask.
    """
    history = stored.history
    questions = [place for place, message in enumerate(history) if message.role == "user"]
    if request.action in ("ask", "edit") and not request.text.strip():
        raise ApiError(400, "there is no question", param="text")
    if request.action == "ask":
        is_unanswered = bool(history) and history[-1].role == "user"
        typed = prompts.Message("user", request.text, typed=request.text)
        return Beginning(len(history) - is_unanswered, typed)
    if request.action == "edit":
        if request.message not in questions:
            raise ApiError(400, "there is no such question", param="message")
        typed = prompts.Message("user", request.text, typed=request.text)
        return Beginning(request.message, typed)
    if not questions:
        raise ApiError(400, "nothing has been asked yet", param="action")
    if request.action == "retry":
        return Beginning(questions[-1], history[questions[-1]])
    if not history[-1].cut:
        raise ApiError(400, "the last answer is whole", param="action")
    return Beginning(len(history) - 1, None, history[-1])


@dataclass
class PreparedTurn:
    """A turn that can be generated.

    Attributes:
        record: The session, and the file that it is kept in.
        prepared: What the queue wants to know.
        stream: Generates the answer in the context that the session has then.
        notes: What the user should know: which of the vendor's recommendations are broken.
    """

    record: chat.RecordedSession
    prepared: PreparedRequest
    stream: Callable[[OnPrefill], Generator[chat.Event]]
    notes: list[str]


def prepare_turn(
    served: ServedModel,
    stored: chat.StoredConversation,
    request: AnswerRequest,
    beginning: Beginning,
    on_save_error: Callable[[DslocalError], None],
) -> PreparedTurn:
    """Put the question on disk, and return what generates its answer.

    Raises:
        ApiError: 422 for a setting that is out of range.
        UsageError: What was asked for is not possible with this model.
    """
    session = _session(served, stored, request)
    record = chat.RecordedSession(session, stored, on_save_error)
    if stored.history and stored.history[-1].role == "user":
        record.unanswered = stored.history[-1]
    notes = session.family.advice(session.settings, session.thinking, session.system)
    seed = int.from_bytes(os.urandom(4), "little")
    question = beginning.question
    if question is None:
        ids = prompts.encode(session.prompt(""), session.context.model)
        prepared = _for_queue(session, ids, seed)
        return PreparedTurn(record, prepared, _continuation(record), notes)
    if request.action != "retry":
        composed = _composed(session, served, request, stored, beginning)
        notes += composed.notes
        question = replace(question, content=composed.text)
    record.begin_turn(question, replaced_from=beginning.kept)
    prepared = _for_queue(
        session, prompts.encode(session.prompt(question.content), session.context.model), seed
    )
    return PreparedTurn(record, prepared, _answer(record, question, seed), notes)


def _session(
    served: ServedModel, stored: chat.StoredConversation, request: AnswerRequest
) -> chat.Session:
    """Return the session of a conversation, with what ``request`` changes of it."""
    family, settings = served.family, served.settings
    for name, value in (request.settings or {}).items():
        settings = with_setting(settings, name, value, name)
    session = chat.Session(served.context, family, settings, thinking=served.thinking)
    resume_history(session, stored)
    if request.system is not None:
        session.system = request.system
    choice = prompts.choose_effort(session.family, request.effort, request.thinking)
    session.family = choice.family
    if choice.think is not None:
        session.thinking = _thinking(session.family, wanted=choice.think)
    return session


def _thinking(family: prompts.Family, *, wanted: bool) -> prompts.Thinking:
    thinking = prompts.Thinking.FORCED if wanted else prompts.Thinking.BYPASSED
    if thinking in family.thinking_modes:
        return thinking
    raise UsageError(f"{family.title} cannot turn reasoning {'on' if wanted else 'off'}")


def _composed(
    session: chat.Session,
    served: ServedModel,
    request: AnswerRequest,
    stored: chat.StoredConversation,
    beginning: Beginning,
) -> prompts.Question:
    """Return the question with its files and directive; an edited one keeps its own files."""
    files = [prompts.FileText(file.name, file.text, "") for file in request.files or ()]
    composed = prompts.compose_question(session.family, request.text, files=files, math=served.math)
    if request.action != "edit" or files:
        return composed
    before = stored.history[beginning.kept].before_typed
    return replace(composed, text=before + composed.text)


def _for_queue(session: chat.Session, ids: list[int], seed: int) -> PreparedRequest:
    return PreparedRequest(
        family=session.family, prompt=(), settings=session.settings, seed=seed, ids=ids
    )


def _answer(
    record: chat.RecordedSession, question: prompts.Message, seed: int
) -> Callable[[OnPrefill], Generator[chat.Event]]:
    return lambda on_prefill: record.stream(question, seed, on_prefill=on_prefill)


def _continuation(record: chat.RecordedSession) -> Callable[[OnPrefill], Generator[chat.Event]]:
    return lambda on_prefill: record.continue_answer(on_prefill=on_prefill)
