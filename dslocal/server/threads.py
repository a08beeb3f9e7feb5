"""Run work in threads; a cancellation waits until the work has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(threads: Executor, function: Callable[[], T]) -> T:
    """Return what ``function`` returns in one of ``threads``.

    A cancellation is raised when the function has ended, not before: a thread cannot be stopped,
    and what it works with, such as a loaded model, may be released after that.
    """
    future = asyncio.get_running_loop().run_in_executor(threads, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():  # however often it is cancelled meanwhile
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                continue
        raise
