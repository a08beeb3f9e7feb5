"""A conversation: session, history, storage, and the repair of its KV cache.

Does not know terminals, HTTP or the command line.
"""

from .cache_repair import Repair
from .session import AnswerStarted, Event, HistoryTrimmed, Session
from .storage import (
    StoredConversation,
    find_conversation,
    last_conversation,
    load_conversation,
    new_conversation,
    stored_conversations,
)

__all__ = [
    "AnswerStarted",
    "Event",
    "HistoryTrimmed",
    "Repair",
    "Session",
    "StoredConversation",
    "find_conversation",
    "last_conversation",
    "load_conversation",
    "new_conversation",
    "stored_conversations",
]
