"""DeepSeek-V2-Chat-0628: V2's turns, marked by V2.5's tokens.

Prompt: the chat_template in tokenizer_config.json.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.messages import PlainText

from .marked import ASSISTANT, USER
from .plain import Plain
from .v2 import V2
from .v2_5 import V2_5

V2_0628 = replace(
    V2_5,
    name="v2-0628",
    title="DeepSeek-V2-Chat-0628",
    signs=replace(V2_5.signs, name=r"\bv2\b.*\b0628\b", template=""),
    format=Plain(
        user=USER, user_end=PlainText(""), assistant=ASSISTANT, begin=ASSISTANT, stop=(USER,)
    ),
    defaults=V2.defaults,
    fim=None,
)
