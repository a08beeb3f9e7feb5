"""llama.cpp's log, kept instead of printed: what it last complained of becomes the text of an
EngineError.
"""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from typing import Any

from dslocal.gguf import libraries

WARNING, ERROR, CONTINUED = 3, 4, 5  # enum ggml_log_level

_complaints: deque[str] = deque(maxlen=20)


@functools.cache
def capture() -> Any:
    """Takes over llama.cpp's log for this process. The result must stay alive, which the cache sees
    to.
    """
    low = libraries.require()

    def on_log(level: int, text: bytes, _: Any) -> None:
        if level in (WARNING, ERROR) and text.strip():
            _complaints.append(text.decode("utf-8", "replace").strip())

    callback = low.llama_log_callback(on_log)
    low.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def clear() -> None:
    """Forgets earlier complaints, so that the next :func:`first_complaint` is about what follows."""
    _complaints.clear()


def first_complaint(default: str) -> str:
    """The first thing llama.cpp complained of since :func:`clear`: later lines only repeat that it
    failed.
    """
    return next(iter(_complaints), default)
