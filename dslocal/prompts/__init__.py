"""How models are prompted: families, messages as segments, tools, files, templates.

Does not know logits or terminals.
"""

from .compose import Question, compose, departs
from .families import FAMILIES, Family
from .files import MAX_FILE, attach, decode, read_text
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
from .recognition import Recognition, family_named, recognise_family
from .settings import SETTINGS, Setting, Settings, spelled
from .templates import INPUT, Template, template_of

__all__ = [
    "FAMILIES",
    "INPUT",
    "MAX_FILE",
    "SETTINGS",
    "Family",
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
    "attach",
    "compose",
    "decode",
    "departs",
    "encode",
    "family_named",
    "read_text",
    "recognise_family",
    "render",
    "spelled",
    "template_of",
]
