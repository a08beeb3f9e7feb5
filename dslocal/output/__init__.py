"""Turn tokens into events: reasoning, text, tool calls, stop texts, loops, output constraints.

Does not know a family's prompts beyond the format that it declares.
"""

from .answer import stream_answer
from .constraint import (
    ANY_OBJECT,
    OutputConstraint,
    constraint_from_choices,
    constraint_from_gbnf,
    constraint_from_regex,
    constraint_from_schema,
    read_grammar,
    read_schema,
)
from .infill import fill_gap
from .reasoning import Reasoning, Reclassified, Text
from .sampler_settings import resolve_logit_bias
from .tool_calls import ToolCallArguments, ToolCallStarted
from .tool_calls.call_constraint import (
    constraint_of_forced_calls,
    constraint_of_optional_calls,
    constraint_of_prefilled_call,
)
from .turn import Turn

__all__ = [
    "ANY_OBJECT",
    "OutputConstraint",
    "Reasoning",
    "Reclassified",
    "Text",
    "ToolCallArguments",
    "ToolCallStarted",
    "Turn",
    "constraint_from_choices",
    "constraint_from_gbnf",
    "constraint_from_regex",
    "constraint_from_schema",
    "constraint_of_forced_calls",
    "constraint_of_optional_calls",
    "constraint_of_prefilled_call",
    "fill_gap",
    "read_grammar",
    "read_schema",
    "resolve_logit_bias",
    "stream_answer",
]
