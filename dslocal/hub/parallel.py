"""Several requests at a time, none of which keeps a process from ending when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
NOTICED_S = 0.1
POLITE_S = 1.0


def map_in_threads(
    action: Callable[[T], R], items: Iterable[T], threads: int, stop: threading.Event
) -> list[R]:
    """``action`` of each of ``items``, in their order. When one raises, or this process is
    interrupted, the others are told by ``stop``.

    They are not waited for but a moment. An executor of the standard library waits for its threads,
    at the latest when Python ends: minutes, when a server is silent.
    """
    results: dict[int, R] = {}
    failures: list[BaseException] = []
    todo, lock = iter(enumerate(items)), threading.Lock()

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    found = next(todo, None)
                if found is None:
                    return
                results[found[0]] = action(found[1])
        except BaseException as e:
            failures.append(e)
            stop.set()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        while not stop.is_set() and any(worker.is_alive() for worker in workers):
            next(worker for worker in workers if worker.is_alive()).join(NOTICED_S)
    finally:
        if any(worker.is_alive() for worker in workers):
            stop.set()
            deadline = time.monotonic() + POLITE_S
            for worker in workers:
                worker.join(max(0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(results))]
