"""Calls into C that recurse with the length of a text: llama.cpp's tokenizer goes one level deeper
for every character of a long word.

On an ordinary stack of 8 MB, 40,000 letters without a blank end the process. A thread of its own
may have as much as it needs: only what is touched becomes memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dslocal.errors import EngineError

T = TypeVar("T")
USUAL = 8192  # bytes of text that any stack has room for
A_BYTE = 1024  # of stack for each byte of text: 200 are too few
MAX_STACK = 8 << 30  # of stack
_starting = threading.Lock()  # the size is the process's setting for its next threads


def call_with_big_stack(nbytes: int, call: Callable[[], T]) -> T:
    """What ``call`` returns, which recurses over a text of ``nbytes``. Raises EngineError for a
    text beyond all bounds.
    """
    if nbytes <= USUAL:
        return call()
    found: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as e:  # passed on to whoever waits
            errors.append(e)

    too_long = EngineError(f"a text of {nbytes:,} bytes in one piece is too long to be tokenized")
    if nbytes * A_BYTE > MAX_STACK:
        raise too_long
    with _starting:
        before = threading.stack_size((nbytes * A_BYTE + (8 << 20)) & ~0xFFFF)
        try:
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
        except RuntimeError:
            raise too_long from None
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return found[0]
