"""Extract final answers from texts, compare them by rule, vote on them, and count the right ones.

Does not know engines.
"""

from .equivalence import Vote, is_equivalent, vote
from .extraction import boxed_content, final_answer

__all__ = ["Vote", "boxed_content", "final_answer", "is_equivalent", "vote"]
