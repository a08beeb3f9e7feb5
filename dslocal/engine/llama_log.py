"""llama.cpp's log, kept instead of printed.

llama.cpp's first complaint becomes the text of an EngineError.
"""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from typing import Any

from dslocal.gguf import libraries

# enum ggml_log_level of ggml.h
WARNING = 3
ERROR = 4
MAX_COMPLAINTS = 20

_complaints: deque[str] = deque(maxlen=MAX_COMPLAINTS)


@functools.cache
def capture() -> Any:
    """Take over llama.cpp's log for this process.

    Returns:
        The callback, which must stay alive as long as the process; the function's cache keeps it.
    """
    low = libraries.require()

    def on_log(level: int, text: bytes, _: Any) -> None:
        if level in (WARNING, ERROR) and text.strip():
            _complaints.append(text.decode("utf-8", "replace").strip())

    callback = low.llama_log_callback(on_log)
    low.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def clear() -> None:
    """Drop earlier complaints, so that :func:`first_complaint` is about the next call."""
    _complaints.clear()


def first_complaint(default: str) -> str:
    """Return the first warning or error since :func:`clear`, or ``default`` if there was none.

    Later lines only repeat that something failed.
    """
    return next(iter(_complaints), default)
