"""Measure what a quantization lost: a model against its reference, over a text.

The reference is evaluated once; its log-probabilities are kept on the disk.
"""

from .measure import Quality, quality

__all__ = ["Quality", "quality"]
