"""The architectures that can be converted, one table a file."""

from dslocal.convert.checkpoint.config import Config
from dslocal.errors import UnsupportedModelError
from dslocal.gguf.architectures import require_known

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
# the names that llama.cpp gives to architectures that are recognized and not converted yet
NOT_YET = {"DeepseekV41ForCausalLM": "deepseek41"}


def find_architecture(config: Config) -> Architecture:
    """Return the architecture of a model.

    Raises:
        UnsupportedModelError: It is not one that dslocal converts.
        CheckpointError: The configuration does not name one.
    """
    require_known(NOT_YET.get(config.architecture, ""), config.file)
    found = next((a for a in ARCHITECTURES if config.architecture in a.accepts), None)
    if found is None:
        known = ", ".join(name for a in ARCHITECTURES for name in a.accepts)
        raise UnsupportedModelError(
            f"{config.architecture!r:.80} is not an architecture that dslocal converts",
            file=config.file,
            hint=f"dslocal converts only DeepSeek's models: {known}",
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
