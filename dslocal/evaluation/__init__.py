"""Final answers: found in a text, compared by rule, voted on, and scored over a file of
questions.
"""

from .equivalence import Vote, equivalent, vote
from .final_answer import boxed, final_answer

__all__ = ["Vote", "boxed", "equivalent", "final_answer", "vote"]
