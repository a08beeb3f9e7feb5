"""Tool calls of an answer: read as they come, and demanded where a caller wants one.

Does not know how tools are described to a model (``prompts``), or who carries calls out.
"""

from .tool_call_parser import (
    MAX_HELD,
    TOKENS,
    CallEvent,
    ToolCallArguments,
    ToolCallParser,
    ToolCallStarted,
)

__all__ = [
    "MAX_HELD",
    "TOKENS",
    "CallEvent",
    "ToolCallArguments",
    "ToolCallParser",
    "ToolCallStarted",
]
