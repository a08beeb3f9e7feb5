"""Run C code that recurses with the length of a text on a stack that is large enough.

llama.cpp's tokenizer goes one level deeper for each character of a long word (std::regex, in
unicode_regex_split_stl of src/unicode.cpp). On an ordinary stack of 8 MB, 40,000 letters without
a blank end the process. A thread of its own may have as much stack as it needs: only the pages
that are touched take memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dslocal.errors import EngineError

T = TypeVar("T")
MAX_ORDINARY_TEXT = 8192  # bytes of text that any thread's stack has room for
STACK_PER_BYTE = 1024  # bytes of stack for each byte of text; 200 are too few
BASE_STACK = 8 << 20  # bytes of stack besides
PAGE_MASK = ~0xFFFF  # stack sizes are multiples of the largest page size, 64 KiB
MAX_STACK = 8 << 30  # bytes
_stack_size_lock = threading.Lock()  # the size is the process's setting for its next threads


def call_with_big_stack(nbytes: int, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, run on a stack for a text of ``nbytes``.

    Raises:
        EngineError: if the text needs more stack than a thread can have.
        BaseException: whatever ``call`` raises.
    """
    if nbytes <= MAX_ORDINARY_TEXT:
        return call()
    too_long = EngineError(f"a text of {nbytes:,} bytes in one piece is too long to be tokenized")
    if nbytes * STACK_PER_BYTE > MAX_STACK:
        raise too_long
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as e:  # raised again in the caller's thread
            errors.append(e)

    with _stack_size_lock:
        usual_size = threading.stack_size((nbytes * STACK_PER_BYTE + BASE_STACK) & PAGE_MASK)
        try:
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
        except RuntimeError:
            raise too_long from None
        finally:
            threading.stack_size(usual_size)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
