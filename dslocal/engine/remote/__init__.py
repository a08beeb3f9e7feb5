"""An engine at a URL (vLLM, SGLang or llama-server) that takes and returns token ids.

Everything that is special about a DeepSeek model stays here: its prompts, and how answers are read.
DeepSeek's own API is the exception: it takes messages (:mod:`.messages`).

Beside :mod:`dslocal.hub`, this package alone speaks HTTP with others, and only with the engine that
the user named.
"""

from .address import EngineAddress, engine_address
from .connection import EngineConnection
from .context import RemoteContext
from .messages import MessageContext
from .served import ServedEngine, find_engine, served_names
from .tokenizer_check import check_tokenizer

__all__ = [
    "EngineAddress",
    "EngineConnection",
    "MessageContext",
    "RemoteContext",
    "ServedEngine",
    "check_tokenizer",
    "engine_address",
    "find_engine",
    "served_names",
]
