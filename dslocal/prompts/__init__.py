"""How models are prompted: families, messages as segments, tools, files, templates.

Does not know logits or terminals.
"""

from .compose import Question, compose, departs
from .families import FAMILIES, Family
from .files import MAX_FILE, attach, decode, read_text
from .messages import (
    Call,
    Message,
    Segment,
    Special,
    Text,
    Thinking,
    Tool,
    encode,
    spell,
)
from .recognition import Recognition, family_named, recognise
from .settings import SETTINGS, Setting, Settings, spelled
from .templates import INPUT, Template, template_of

__all__ = [
    "FAMILIES",
    "INPUT",
    "MAX_FILE",
    "SETTINGS",
    "Call",
    "Family",
    "Message",
    "Question",
    "Recognition",
    "Segment",
    "Setting",
    "Settings",
    "Special",
    "Template",
    "Text",
    "Thinking",
    "Tool",
    "attach",
    "compose",
    "decode",
    "departs",
    "encode",
    "family_named",
    "read_text",
    "recognise",
    "spell",
    "spelled",
    "template_of",
]
