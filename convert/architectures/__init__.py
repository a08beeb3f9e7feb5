"""The architectures that can be converted, one table a file."""

from dslocal.convert.checkpoint.config import Config
from dslocal.errors import UnsupportedModelError

from .deepseek import DEEPSEEK
from .deepseek2 import DEEPSEEK2
from .deepseek4 import DEEPSEEK4
from .deepseek32 import DEEPSEEK32
from .llama import LLAMA
from .mapping import Architecture, CheckpointTensors, ExpertsMapping, MappedTensor, TensorMapping
from .qwen import QWEN2, QWEN3

ARCHITECTURES: tuple[Architecture, ...] = (
    DEEPSEEK4,
    DEEPSEEK32,
    DEEPSEEK2,
    DEEPSEEK,
    LLAMA,
    QWEN2,
    QWEN3,
)
# what llama.cpp gained after the version that llama-cpp-python ships, and what to run instead
NOT_YET = {"DeepseekV41ForCausalLM": "deepseek41"}


def find_architecture(config: Config) -> Architecture:
    """Return the architecture of a model.

    Raises:
        UnsupportedModelError: It is not one that dslocal converts.
        CheckpointError: The configuration does not name one.
    """
    if config.architecture in NOT_YET:
        raise UnsupportedModelError(
            f"is V4.1, and llama-cpp-python has no {NOT_YET[config.architecture]} yet",
            file=config.file,
            hint="run deepseek-v4-flash-0731, the newest model before it, instead",
        )
    found = next((a for a in ARCHITECTURES if config.architecture in a.accepts), None)
    if found is None:
        known = ", ".join(name for a in ARCHITECTURES for name in a.accepts)
        raise UnsupportedModelError(
            f"{config.architecture!r:.80} is not an architecture that dslocal converts",
            file=config.file,
            hint=f"it converts DeepSeek's models alone: {known}",
        )
    return found


__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "CheckpointTensors",
    "ExpertsMapping",
    "MappedTensor",
    "TensorMapping",
    "find_architecture",
]
