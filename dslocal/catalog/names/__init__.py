"""How people write a model's name: on the hub, in Ollama, in LM Studio, in a URL."""

from .spelling import Spelling, read_spelling
from .suggestions import nearest_names, why_not

__all__ = ["Spelling", "nearest_names", "read_spelling", "why_not"]
