"""A conversation taken up where it was left, and left so that it can be: its history, and its KV cache where that is worth the disk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .. import chat

LEAST_TOKENS = 32  # fewer are evaluated anew sooner than read
MOST_BYTES = 4 << 30
FREE_AFTER = 2  # times a state's size that must stay free on the disk


@contextmanager
def kept(session: chat.Session, saved: chat.Saved, *, resumed: bool, thinking_given: bool) -> Iterator[None]:
    """Brings ``session`` to where ``saved`` was left, when it is ``resumed``; at the end its KV cache is kept."""
    from ..engine.state import restore_state

    if resumed:
        session.history = list(saved.history)
        session.system = session.system or saved.system
        ways = {way.value: way for way in session.family.ways}
        if not thinking_given:
            session.thinking = ways.get(saved.thinking, session.thinking)
        restore_state(session.context, saved.state)
    try:
        yield
    finally:
        if saved.history:
            with suppress(OSError):  # it is evaluated anew then
                _save_state(session, saved)


def _save_state(session: chat.Session, saved: chat.Saved) -> None:
    from ..chat.saved import old_states
    from ..engine.state import remove_state, save_state, state_bytes

    nbytes = state_bytes(session.context)
    folder = saved.state.parent
    if len(session.context.ids) < LEAST_TOKENS or nbytes > MOST_BYTES or shutil.disk_usage(folder).free < FREE_AFTER * nbytes:
        remove_state(saved.state)
        return
    if nbytes > 64 << 20:
        print(f"dslocal: keeping {nbytes / 1e6:,.0f} MB of this conversation's state for --resume", file=sys.stderr)
    save_state(session.context, saved.state)
    for old in old_states():
        remove_state(old)
