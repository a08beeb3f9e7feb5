"""Make several requests at a time, none of which keeps the process from ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

POLL_S = 0.1  # how soon Ctrl-C is noticed
GRACE_S = 1.0  # how long threads may take to end once they are stopped


def map_in_threads(
    action: Callable[[T], R], items: Iterable[T], threads: int, stop: threading.Event
) -> list[R]:
    """Return what ``action`` returns for each of ``items``, in their order.

    An executor of the standard library waits for its threads, at the latest when Python ends: that
    is minutes when a server is silent. Threads here are waited for one second at most.

    Args:
        action: What is done with an item. It should end soon once ``stop`` is set.
        items: Each is taken by the next free thread.
        threads: How many there are.
        stop: Set when an action raises, or this process is interrupted.

    Raises:
        Exception: What the first action raised that failed.
    """
    results: dict[int, R] = {}
    failures: list[BaseException] = []
    numbered = iter(enumerate(items))
    lock = threading.Lock()

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    item = next(numbered, None)
                if item is None:
                    return
                results[item[0]] = action(item[1])
        except BaseException as e:
            failures.append(e)
            stop.set()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        _wait(workers, stop)
    finally:
        if any(worker.is_alive() for worker in workers):
            stop.set()
            deadline = time.monotonic() + GRACE_S
            for worker in workers:
                worker.join(max(0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(results))]


def _wait(workers: Iterable[threading.Thread], stop: threading.Event) -> None:
    """Wait until all have ended or ``stop`` is set, in steps, so that Ctrl-C is noticed."""
    for worker in workers:
        while worker.is_alive() and not stop.is_set():
            worker.join(POLL_S)
