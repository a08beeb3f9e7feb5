"""Resume a stored conversation, and keep its KV cache where that is worth the disk."""

from __future__ import annotations

import shutil
from contextlib import suppress

from dslocal.prompts.messages import Message

from .session import Session
from .storage import StoredConversation
from .stored_conversations import old_cache_files

MIN_TOKENS = 32  # fewer are evaluated again sooner than read
MAX_BYTES = 4 << 30
FREE_AFTER = 2  # times the size of a cache that must stay free on the disk


def resume_session(session: Session, saved: StoredConversation) -> Message | None:
    """Bring ``session`` to where ``saved`` ended, with its KV cache where that can be had.

    Returns:
        The last question, if it has no answer.
    """
    from dslocal.engine import LlamaContext
    from dslocal.engine.kv_cache.kv_state import restore_state

    unanswered = resume_history(session, saved)
    if isinstance(session.context, LlamaContext):
        with suppress(OSError):
            restore_state(session.context, saved.cache_file)
    return unanswered


def resume_history(session: Session, saved: StoredConversation) -> Message | None:
    """Bring ``session`` to where ``saved`` ended, and leave its KV cache as it is.

    Returns:
        The last question, if it has no answer.
    """
    history = list(saved.history)
    unanswered = history.pop() if history and history[-1].role == "user" else None
    session.truncate()
    session.history = history
    session.system = saved.system
    session.turn = None
    modes = {mode.value: mode for mode in session.family.thinking_modes}
    session.thinking = modes.get(saved.thinking, session.thinking)
    if saved.effort in session.family.efforts:
        session.family = session.family.with_effort(saved.effort)
    if saved.partial and saved.partial.thinking in (None, *modes.values()):
        session.partial = saved.partial
    return unanswered


def save_session_cache(session: Session, saved: StoredConversation) -> int:
    """Keep the KV cache of ``session`` for the next time, where that is worth it.

    Returns:
        The bytes that were written; 0 for none. A cache that is not kept is evaluated again.
    """
    from dslocal.engine import LlamaContext
    from dslocal.engine.kv_cache.kv_state import remove_state, save_state, state_bytes

    context = session.context
    if not saved.history or not isinstance(context, LlamaContext) or not context.handle:
        return 0
    with suppress(OSError):
        nbytes = state_bytes(context)
        free = shutil.disk_usage(saved.cache_file.parent).free
        is_small = len(context.ids) < MIN_TOKENS
        if is_small or nbytes > MAX_BYTES or free < FREE_AFTER * nbytes:
            remove_state(saved.cache_file)
            return 0
        written = save_state(context, saved.cache_file)
        for old in old_cache_files():
            remove_state(old)
        return written
    return 0
