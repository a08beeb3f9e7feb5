"""Token ids in, token ids out: llama.cpp's low-level interface, and exact sampling in numpy.

Knows nothing of roles, templates or model names.
"""

from dslocal.gguf import libraries

libraries.require()  # before numpy, see there

from dslocal.types import FinishReason, Timings, TokenLogprobs  # noqa: E402

from .context import LlamaContext  # noqa: E402
from .generate import Generation  # noqa: E402
from .interface import EngineContext  # noqa: E402
from .model import LlamaModel  # noqa: E402
from .sampling.sampler import Sampler  # noqa: E402

__all__ = [
    "EngineContext",
    "FinishReason",
    "Generation",
    "LlamaContext",
    "LlamaModel",
    "Sampler",
    "Timings",
    "TokenLogprobs",
]
