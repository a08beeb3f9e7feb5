"""The architectures that can be converted, one table a file."""

from .deepseek import DEEPSEEK
from .deepseek2 import DEEPSEEK2
from .llama import LLAMA
from .mapping import Architecture
from .qwen import QWEN2, QWEN3

ARCHITECTURES: tuple[Architecture, ...] = (DEEPSEEK2, DEEPSEEK, LLAMA, QWEN2, QWEN3)

__all__ = ["FAMILIES"]
