"""Proves that what works in a thread has ended before anything that it needs is released."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dslocal.server.threads import in_thread


@pytest.mark.parametrize("cancellations", [1, 3])
def test_a_cancellation_waits_for_the_thread(cancellations: int) -> None:
    order: list[str] = []
    started, may_end = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert may_end.wait(60)
        order.append("worked")

    async def release_after() -> None:
        try:
            await in_thread(threads, work)
        finally:
            order.append("released")

    async def cancel() -> None:
        task = asyncio.create_task(release_after())
        while not started.is_set():
            await asyncio.sleep(0.001)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0.001)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(cancel())
    assert order == ["worked", "released"]


def test_what_the_function_raises_is_raised() -> None:
    def fail() -> None:
        raise ValueError("a fault")

    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="a fault"):
        asyncio.run(in_thread(threads, fail))
