"""A conversation taken up where it was left, and left so that it can be: its history, and its KV
cache where that is worth the disk.
"""

from __future__ import annotations

import shutil
from contextlib import suppress

from dslocal.prompts.messages import Message

from .session import Session
from .storage import StoredConversation, old_states

MIN_TOKENS = 32  # fewer are evaluated anew sooner than read
MAX_BYTES = 4 << 30
FREE_AFTER = 2  # times a state's size that must stay free on the disk


def resume_session(session: Session, saved: StoredConversation) -> Message | None:
    """Brings ``session`` to where ``saved`` was left, its cache as well where that can be had.
    Returns a question without an answer.
    """
    from dslocal.engine.kv_state import restore_state

    history = list(saved.history)
    unanswered = history.pop() if history and history[-1].role == "user" else None
    session.truncate()
    session.history, session.system, session.turn = history, saved.system, None
    ways = {way.value: way for way in session.family.thinking_modes}
    session.thinking = ways.get(saved.thinking, session.thinking)
    if saved.partial and (
        saved.partial.thinking is None or saved.partial.thinking in session.family.thinking_modes
    ):
        session.partial = saved.partial
    with suppress(OSError):
        restore_state(session.context, saved.state)
    return unanswered


def save_session_cache(session: Session, saved: StoredConversation) -> int:
    """Keeps the KV cache of ``session`` for the next time, where that is worth it, and returns the
    bytes.
    """
    from dslocal.engine.kv_state import remove_state, save_state, state_bytes

    if not saved.history or not session.context.handle:
        return 0
    with suppress(OSError):  # it is evaluated anew then
        nbytes = state_bytes(session.context)
        few, free = (
            len(session.context.ids) < MIN_TOKENS,
            shutil.disk_usage(saved.state.parent).free,
        )
        if few or nbytes > MAX_BYTES or free < FREE_AFTER * nbytes:
            remove_state(saved.state)
            return 0
        written = save_state(session.context, saved.state)
        for old in old_states():
            remove_state(old)
        return written
    return 0
