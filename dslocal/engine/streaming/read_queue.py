"""Threads that read the most urgent pieces first, and groups of reads that can be waited for.

Three urgencies: what the present layer multiplies with next, what a later layer is sure to need,
and guesses. A guess is started only while nothing else waits, and is dropped as soon as the next
layer's experts are known. Two are read at a time, so that a read that is certain is delayed by one
read at most; more only while nearly all guesses are right (``max_guesses``).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

Read = Callable[[], None]
MAX_GUESSES = 2  # that are read at a time, unless nearly all are right
ABORT_POLL = 0.05  # seconds between two looks at whether a wait is to end


class Urgency(IntEnum):
    """How soon something is needed, the soonest first."""

    NOW = 0
    SOON = 1
    GUESS = 2


class ReadGroup:
    """Reads that are waited for together."""

    def __init__(self, count: int) -> None:
        """Expect ``count`` reads."""
        self._left = count
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        if not count:
            self._done.set()

    @property
    def is_done(self) -> bool:
        """Return whether all reads are done, and none has failed."""
        return self._done.is_set() and self._failure is None

    def finish_one(self, failure: BaseException | None = None) -> None:
        """Take note that one is done, or has failed."""
        with self._lock:
            self._left -= 1
            self._failure = self._failure or failure
            if not self._left or failure:
                self._done.set()

    def wait(self, is_aborted: Callable[[], bool]) -> None:
        """Wait until all are done.

        Raises:
            KeyboardInterrupt: ``is_aborted`` says so.
            EngineError: and whatever else one of them raised.
        """
        while not self._done.wait(ABORT_POLL):
            if is_aborted():
                raise KeyboardInterrupt
        if self._failure is not None:
            raise self._failure


class _Waiting(NamedTuple):
    """A read for a layer that has not started."""

    read: Read
    group: ReadGroup
    layer: int


class ReadQueue:
    """A queue and its threads. Close it; that waits for what is being read.

    Attributes:
        max_guesses: How many guesses are read at a time.
    """

    def __init__(self, threads: int) -> None:
        """Start the threads."""
        self._waiting: dict[Urgency, deque[_Waiting]] = {urgency: deque() for urgency in Urgency}
        self._changed = threading.Condition()
        self.max_guesses = MAX_GUESSES
        self._guesses = 0  # being read
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"experts-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, reads: Iterable[Read], urgency: Urgency, layer: int) -> ReadGroup:
        """Queue ``reads`` for a layer, in this order and behind others that are as urgent.

        Returns:
            The group, which can be waited for.
        """
        listed = list(reads)
        group = ReadGroup(len(listed))
        with self._changed:
            self._waiting[urgency].extend(_Waiting(read, group, layer) for read in listed)
            self._changed.notify(len(listed))
        return group

    def forget(self, layer: int) -> None:
        """Drop reads ahead for ``layer`` that have not started, and all guesses."""
        with self._changed:
            self._waiting[Urgency.GUESS].clear()
            soon = self._waiting[Urgency.SOON]
            self._waiting[Urgency.SOON] = deque(one for one in soon if one.layer != layer)

    def forget_all(self) -> None:
        """Drop all reads that have not started; nothing may wait for them."""
        with self._changed:
            for waiting in self._waiting.values():
                waiting.clear()

    def close(self) -> None:
        """Drop reads that have not started, and end the threads."""
        with self._changed:
            self._closing = True
            for waiting in self._waiting.values():
                waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                urgency = self._next_urgency()
                while urgency is None and not self._closing:
                    self._changed.wait()
                    urgency = self._next_urgency()
                if urgency is None:
                    return
                waiting = self._waiting[urgency].popleft()
                if urgency is Urgency.GUESS:
                    self._guesses += 1
            failure: BaseException | None = None
            try:
                waiting.read()
            except BaseException as e:  # raised by what waits
                failure = e
            waiting.group.finish_one(failure)
            if urgency is Urgency.GUESS:
                with self._changed:
                    self._guesses -= 1
                    self._changed.notify()

    def _next_urgency(self) -> Urgency | None:
        """Return the urgency to serve next; None where there is nothing to do."""
        for urgency in (Urgency.NOW, Urgency.SOON):
            if self._waiting[urgency]:
                return urgency
        if self._waiting[Urgency.GUESS] and self._guesses < self.max_guesses:
            return Urgency.GUESS
        return None
