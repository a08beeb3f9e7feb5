"""What is said to a model and how its answer is read: families, prompts as segments, reasoning,
sessions. No terminal, no HTTP.
"""

from .answering import Turn, answer
from .calls import CallArguments, CallBegun
from .families import FAMILIES, Family
from .files import MAX_FILE, attach, decode, read_text
from .filling import Gap, fill, gap_at
from .grading import Vote, boxed, equivalent, final_answer, vote
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
from .question import Question, compose, departs
from .reasoning import Answer, Reasoning, Reclassified
from .recognition import Recognition, family_named, recognise
from .repair import Repair
from .sampling import biases
from .saved import (
    Saved,
    all_saved,
    last_saved,
    load_saved,
    new_saved,
    saved_called,
)
from .schema import ANY_OBJECT, Form, form_of, read_grammar, read_schema
from .session import Begun, Dropped, Event, Session
from .settings import SETTINGS, Setting, Settings, spelled
from .templates import INPUT, Template, template_of

__all__ = [
    "ANY_OBJECT",
    "FAMILIES",
    "INPUT",
    "MAX_FILE",
    "SETTINGS",
    "Answer",
    "Begun",
    "Call",
    "CallArguments",
    "CallBegun",
    "Dropped",
    "Event",
    "Family",
    "Form",
    "Gap",
    "Message",
    "Question",
    "Reasoning",
    "Reclassified",
    "Recognition",
    "Repair",
    "Saved",
    "Segment",
    "Session",
    "Setting",
    "Settings",
    "Special",
    "Template",
    "Text",
    "Thinking",
    "Tool",
    "Turn",
    "Vote",
    "all_saved",
    "answer",
    "attach",
    "biases",
    "boxed",
    "compose",
    "decode",
    "departs",
    "encode",
    "equivalent",
    "family_named",
    "fill",
    "final_answer",
    "form_of",
    "gap_at",
    "last_saved",
    "load_saved",
    "new_saved",
    "read_grammar",
    "read_schema",
    "read_text",
    "recognise",
    "saved_called",
    "spell",
    "spelled",
    "template_of",
    "vote",
]
