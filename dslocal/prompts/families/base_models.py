"""Base models: they complete a text and have no turns, and some fill in the middle.

Format of a gap: DeepSeek-Coder's and Coder-V2's READMEs, "Code Insertion"; the technical reports of
V2 and V3 name the same. Settings: Coder's README completes greedily; for the others nothing is
recommended, and V3's generation_config.json is taken.
"""

from __future__ import annotations

from dslocal.prompts.messages import Special
from dslocal.prompts.settings import Setting, Settings

from .base import BOS, EOS, Family, Fim, Signs
from .plain import Completion

CHOSEN = "dslocal's choice: the vendor recommends nothing for it"
GREEDY = Settings(
    Setting(0.0, "Coder's README, Code Completion"), Setting(1.0, CHOSEN), Setting(1024, CHOSEN)
)
FIM = Fim(Special("<｜fim▁begin｜>"), Special("<｜fim▁hole｜>"), Special("<｜fim▁end｜>"), GREEDY)
FIM_TOKENS = frozenset(s.token for s in (FIM.begin, FIM.hole, FIM.end))
ALL = frozenset({"deepseek4", "deepseek32", "deepseek2", "deepseek", "llama"})

BASE_FIM = Family(
    name="base-fim",
    title="a base model that fills in the middle: DeepSeek Coder, Coder-V2, V2, V3 and V4",
    signs=Signs(
        architectures=ALL,
        tokens=frozenset((BOS.token, EOS.token)) | FIM_TOKENS,
        name=r"\bbase\b|\bdeepseek ?v2( lite)?( bf16| gguf)*$",
    ),
    format=Completion(),
    defaults=GREEDY,
    fim=FIM,
    is_base=True,
)

BASE = Family(
    name="base",
    title="a base model: DeepSeek LLM, Math and MoE",
    signs=Signs(architectures=ALL, tokens=frozenset((BOS.token, EOS.token)), name=r"\bbase\b"),
    format=Completion(),
    defaults=Settings(Setting(0.7, CHOSEN), Setting(0.95, CHOSEN), Setting(1024, CHOSEN)),
    is_base=True,
)
