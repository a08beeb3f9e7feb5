"""How each kind of DeepSeek model is prompted and read: one file and one constant a family."""

from .base import Directive, Family, Fim, Recommendation
from .base_models import BASE, BASE_FIM
from .coder import CODER
from .coder_v2 import CODER_V2
from .llm import LLM
from .math import MATH
from .moe import MOE
from .nano import NANO
from .prover import PROVER
from .prover_v1_5 import PROVER_V1_5
from .r1 import DIRECTIVE, R1
from .r1_0528 import R1_0528
from .v2 import V2
from .v2_0628 import V2_0628
from .v2_5 import V2_5
from .v3 import V3
from .v3_0324 import V3_0324
from .v3_1 import V3_1
from .v3_2 import V3_2, V3_2_SPECIALE
from .v4 import V4, V4_0731
from .v4_1 import V4_1

# a name stands before the name that is part of it
ORDER = (
    NANO,
    BASE_FIM,
    BASE,
    PROVER_V1_5,
    PROVER,
    R1_0528,
    R1,
    V4_1,
    V4_0731,
    V4,
    V3_2_SPECIALE,
    V3_2,
    V3_1,
    V3_0324,
    V3,
    V2_5,
    V2_0628,
    CODER_V2,
    V2,
    MATH,
    MOE,
    CODER,
    LLM,
)
FAMILIES = {family.name: family for family in ORDER}
# A GGUF that fits several families, and does not say which, is taken for the first of these. R1 is
# first because reasoning that is forced costs time, and reasoning that is skipped costs the answer.
CAREFUL = (
    R1,
    R1_0528,
    V4_1,
    V4_0731,
    V4,
    V3_2,
    V3_1,
    V3,
    V2,
    V2_5,
    CODER,
    MOE,
    LLM,
    BASE_FIM,
    BASE,
)

__all__ = ["CAREFUL", "DIRECTIVE", "FAMILIES", "Directive", "Family", "Fim", "Recommendation"]
