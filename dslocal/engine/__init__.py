"""Token ids in, token ids out: llama.cpp's low-level interface, exact sampling in numpy, nothing of
roles or templates.
"""

from dslocal.gguf import libraries

libraries.require()  # before numpy, see there

from dslocal.types import FinishReason, Timings, TokenLogprobs  # noqa: E402

from .context import LlamaContext  # noqa: E402
from .generate import Generation  # noqa: E402
from .model import LlamaModel  # noqa: E402
from .sampling.sampler import Sampler  # noqa: E402

__all__ = [
    "FinishReason",
    "Generation",
    "LlamaContext",
    "LlamaModel",
    "Sampler",
    "Timings",
    "TokenLogprobs",
]
