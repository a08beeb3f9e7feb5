"""Proves the order in which reads start, and that nothing is left of a queue that is closed."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from dslocal.engine.streaming.read_queue import MAX_GUESSES, ReadQueue, Urgency
from dslocal.errors import EngineError


def never() -> bool:
    return False


class Blocked:
    """A queue of one thread that is held up by a first read, so that the others wait."""

    def __init__(self) -> None:
        self.queue = ReadQueue(1)
        self.order: list[str] = []
        self._go, started = threading.Event(), threading.Event()

        def hold() -> None:
            started.set()
            self._go.wait()

        self.first = self.queue.submit([hold], Urgency.NOW, 0)
        started.wait()

    def add(self, name: str, urgency: Urgency, layer: int = 1) -> None:
        self.queue.submit([partial(self.order.append, name)], urgency, layer)

    def finish(self) -> list[str]:
        """Let all go, and return in which order they started."""
        last = self.queue.submit([lambda: None], Urgency.GUESS, 9)
        self._go.set()
        last.wait(never)
        self.queue.close()
        return self.order


def test_the_most_urgent_starts_first() -> None:
    blocked = Blocked()
    blocked.add("guess", Urgency.GUESS)
    blocked.add("soon", Urgency.SOON)
    blocked.add("now", Urgency.NOW)
    blocked.add("now too", Urgency.NOW)
    assert blocked.finish() == ["now", "now too", "soon", "guess"]


def test_what_a_layer_knows_replaces_what_was_expected_of_it() -> None:
    """Proves that its own reads ahead and all guesses go, and those for later layers stay."""
    blocked = Blocked()
    blocked.add("guess", Urgency.GUESS, 2)
    blocked.add("expected", Urgency.SOON, 1)
    blocked.add("later", Urgency.SOON, 2)
    blocked.queue.forget(1)
    blocked.add("certain", Urgency.NOW, 1)
    assert blocked.finish() == ["certain", "later"]


@pytest.mark.parametrize("allowed", [MAX_GUESSES, MAX_GUESSES + 1])
def test_few_guesses_are_read_at_a_time(allowed: int) -> None:
    queue, go = ReadQueue(MAX_GUESSES + 2), threading.Event()
    if allowed != MAX_GUESSES:
        queue.max_guesses = allowed
    reads = threading.Semaphore(0)

    def guess() -> None:
        reads.release()
        go.wait()

    group = queue.submit([guess] * 6, Urgency.GUESS, 1)
    for _ in range(allowed):
        assert reads.acquire(timeout=60)
    queue.submit([lambda: None], Urgency.NOW, 1).wait(never)  # a thread is free for it
    assert not reads.acquire(blocking=False)
    go.set()
    group.wait(never)
    queue.close()


def test_a_failure_reaches_what_waits() -> None:
    queue = ReadQueue(2)

    def fail() -> None:
        raise EngineError("the disk is gone")

    with pytest.raises(EngineError, match="the disk is gone"):
        queue.submit([fail, lambda: None], Urgency.NOW, 1).wait(never)
    queue.submit([lambda: None], Urgency.NOW, 1).wait(never)
    queue.close()


def test_a_wait_ends_when_it_is_aborted() -> None:
    queue, go = ReadQueue(1), threading.Event()

    def wait_for_go() -> None:
        go.wait()

    with pytest.raises(KeyboardInterrupt):
        queue.submit([wait_for_go], Urgency.NOW, 1).wait(lambda: True)
    go.set()
    queue.close()


def test_closing_ends_all_threads() -> None:
    before = threading.active_count()
    queue = ReadQueue(8)
    queue.submit([lambda: None] * 100, Urgency.GUESS, 1)
    queue.close()
    assert threading.active_count() == before
