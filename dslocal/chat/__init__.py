"""Hold conversations: session, history, storage, and the repair of their KV cache.

Does not know terminals, HTTP or the command line.
"""

from .cache_repair import Repair
from .message_session import open_session
from .recorded_session import RecordedSession
from .running_answer import PartialAnswer
from .search import matching_line
from .session import Event, HistoryTrimmed, Session
from .storage import StoredConversation, load_conversation, new_conversation
from .stored_conversations import (
    find_conversation,
    last_conversation,
    list_conversations,
    load_by_id,
)

__all__ = [
    "Event",
    "HistoryTrimmed",
    "PartialAnswer",
    "RecordedSession",
    "Repair",
    "Session",
    "StoredConversation",
    "find_conversation",
    "last_conversation",
    "list_conversations",
    "load_by_id",
    "load_conversation",
    "matching_line",
    "new_conversation",
    "open_session",
]
