"""From tokens to events: reasoning, text, tool calls, stop texts, loops, output constraints.

Does not know a family's prompts beyond the format that it declares.
"""

from .answer import Turn, answer
from .constraint import ANY_OBJECT, OutputConstraint, output_constraint, read_grammar, read_schema
from .fill_in_middle import Gap, fill, gap_at
from .reasoning import Reasoning, Reclassified, Text
from .sampler_settings import biases
from .tool_calls import ToolCallArguments, ToolCallStarted

__all__ = [
    "ANY_OBJECT",
    "Gap",
    "OutputConstraint",
    "Reasoning",
    "Reclassified",
    "Text",
    "ToolCallArguments",
    "ToolCallStarted",
    "Turn",
    "answer",
    "biases",
    "fill",
    "gap_at",
    "output_constraint",
    "read_grammar",
    "read_schema",
]
