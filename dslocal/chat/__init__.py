"""A conversation: session, history, storage, and the repair of its KV cache.

Does not know terminals, HTTP or the command line.
"""

from .cache_repair import Repair
from .session import Begun, Dropped, Event, Session
from .storage import (
    Saved,
    all_saved,
    last_saved,
    load_saved,
    new_saved,
    saved_called,
)

__all__ = [
    "Begun",
    "Dropped",
    "Event",
    "Repair",
    "Saved",
    "Session",
    "all_saved",
    "last_saved",
    "load_saved",
    "new_saved",
    "saved_called",
]
