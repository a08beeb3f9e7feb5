"""Prompt models: families, messages as segments, tools, files, templates, fill-in-the-middle.

Does not know logits or terminals.
"""

from .compose import Question, compose_question, directive_advice
from .families import FAMILIES, Family, Fim
from .families.effort import EffortChoice, choose_effort
from .files import MAX_FILE, FileText, attach_files, decode_file, decode_text, read_file, read_text
from .fim import Gap, gap_at
from .messages import (
    Message,
    PlainText,
    Segment,
    Special,
    Thinking,
    Tool,
    ToolCall,
    encode,
    render,
)
from .reasoning_text import split_reasoning
from .recognition import Recognition, family_of_name, get_family, recognise_family
from .settings import SETTINGS, Setting, Settings, format_value
from .templates import INPUT, Template, parse_template

__all__ = [
    "FAMILIES",
    "INPUT",
    "MAX_FILE",
    "SETTINGS",
    "EffortChoice",
    "Family",
    "FileText",
    "Fim",
    "Gap",
    "Message",
    "PlainText",
    "Question",
    "Recognition",
    "Segment",
    "Setting",
    "Settings",
    "Special",
    "Template",
    "Thinking",
    "Tool",
    "ToolCall",
    "attach_files",
    "choose_effort",
    "compose_question",
    "decode_file",
    "decode_text",
    "directive_advice",
    "encode",
    "family_of_name",
    "format_value",
    "gap_at",
    "get_family",
    "parse_template",
    "read_file",
    "read_text",
    "recognise_family",
    "render",
    "split_reasoning",
]
