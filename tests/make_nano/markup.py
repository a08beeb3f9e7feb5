"""The special tokens of DeepSeek-R1's conversations and of fill-in-the-middle.

Knows V3's special tokens in the order of their ids; knows nothing of what conversations are about.
"""

from __future__ import annotations

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
FIM_BEGIN = "<｜fim▁begin｜>"
FIM_HOLE = "<｜fim▁hole｜>"
FIM_END = "<｜fim▁end｜>"
RESULTS_END = "<｜tool▁outputs▁end｜>"
THINK, THOUGHT = "<think>", "</think>"
SPECIAL = (
    BOS,
    EOS,
    PAD,
    FIM_HOLE,
    FIM_BEGIN,
    FIM_END,
    USER,
    ASSISTANT,
    "<|EOT|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁outputs▁begin｜>",
    RESULTS_END,
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁sep｜>",
    THINK,
    THOUGHT,
)


def gap(before: str, missing: str, after: str) -> str:
    """A fill-in-the-middle example."""
    return f"{BOS}{FIM_BEGIN}{before}{FIM_HOLE}{after}{FIM_END}{missing}{EOS}"
