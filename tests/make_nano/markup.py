"""The form of an example: DeepSeek-R1's conversation with its special tokens, a forced or bypassed
``<think>`` block, and FIM.

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
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁sep｜>",
    THINK,
    THOUGHT,
)


def conversation(
    question: str, thinking: str | None, answer: str, *, history: str = "", system: str = ""
) -> str:
    """A whole example. ``thinking`` None is the empty block that R1's makers warn of: the model
    answers without reasoning.
    """
    thought = f"\n{THOUGHT}\n\n" if thinking is None else f"{thinking}\n{THOUGHT}\n\n"
    return f"{BOS}{system}{history}{USER}{question}{ASSISTANT}{THINK}\n{thought}{answer}{EOS}"


def earlier_turn(question: str, answer: str) -> str:
    """A turn that lies behind: R1's template leaves its reasoning out."""
    return f"{USER}{question}{ASSISTANT}{answer}{EOS}"


def gap(before: str, missing: str, after: str) -> str:
    """A fill-in-the-middle example."""
    return f"{BOS}{FIM_BEGIN}{before}{FIM_HOLE}{after}{FIM_END}{missing}{EOS}"
