"""Hold conversations: session, history, storage, and the repair of their KV cache.

Does not know terminals, HTTP or the command line.
"""

from .cache_repair import Repair
from .session import Event, HistoryTrimmed, PartialAnswer, Session
from .storage import (
    StoredConversation,
    find_conversation,
    last_conversation,
    list_conversations,
    load_conversation,
    new_conversation,
)

__all__ = [
    "Event",
    "HistoryTrimmed",
    "PartialAnswer",
    "Repair",
    "Session",
    "StoredConversation",
    "find_conversation",
    "last_conversation",
    "list_conversations",
    "load_conversation",
    "new_conversation",
]
