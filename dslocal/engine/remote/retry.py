"""Send a failed request again, unless a part of its answer has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from .connection import RemoteAbort
from .failures import PassingError

RETRY_S = (0.5, 1.0, 2.0, 4.0)  # before each further try, if the engine does not say
MAX_WAIT_S = 60.0  # that an engine may ask for
POLL_S = 0.05  # between two looks at the abort switch

T = TypeVar("T")


def with_retries(
    send: Callable[[], Iterator[T]],
    brings: Callable[[T], bool],
    lost: Callable[[], Exception],
    abort: RemoteAbort,
) -> Iterator[T]:
    """Yield what ``send`` yields, from another try if the first failed before it brought anything.

    Args:
        send: Sends the request.
        brings: Whether what it yields is a part of the answer.
        lost: Makes the error of an answer that was cut in the middle.
        abort: Ends the waiting.

    Raises:
        KeyboardInterrupt: It was aborted.
        DslocalError: The failure does not pass, or came in the middle of the answer.
    """
    waits = [*RETRY_S]
    while True:
        has_come = False
        try:
            for part in send():
                has_come = has_come or brings(part)
                yield part
            return
        except PassingError as e:
            if has_come:
                raise lost() from e
            wait_s = e.wait_s or (waits[0] if waits else 0.0)
            if not waits or wait_s > MAX_WAIT_S:
                raise
            waits.pop(0)
            _wait(wait_s, abort)


def _wait(seconds: float, abort: RemoteAbort) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if abort.is_set():
            raise KeyboardInterrupt
        time.sleep(min(POLL_S, left))
