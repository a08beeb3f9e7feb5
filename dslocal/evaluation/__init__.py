"""Final answers: found in a text, compared by rule, voted on, and scored over a file of
questions.
"""

from .equivalence import Vote, is_equivalent, vote
from .final_answer import boxed_content, final_answer

__all__ = ["Vote", "boxed_content", "final_answer", "is_equivalent", "vote"]
