"""From tokens to events: reasoning, text, tool calls, stop texts, loops, output constraints.

Does not know a family's prompts beyond the format that it declares.
"""

from .answer import Turn, answer
from .constraint import ANY_OBJECT, Form, form_of, read_grammar, read_schema
from .fill_in_middle import Gap, fill, gap_at
from .reasoning import Answer, Reasoning, Reclassified
from .sampler_settings import biases
from .tool_calls import CallArguments, CallBegun

__all__ = [
    "ANY_OBJECT",
    "Answer",
    "CallArguments",
    "CallBegun",
    "Form",
    "Gap",
    "Reasoning",
    "Reclassified",
    "Turn",
    "answer",
    "biases",
    "fill",
    "form_of",
    "gap_at",
    "read_grammar",
    "read_schema",
]
