"""Proves that no place of the program swallows a signal that is meant to end it."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dslocal.cli.process.signals import ENDING_SIGNALS, EndingSignals
from dslocal.errors import Terminated

LIMIT_S = 60


def in_a_finalizer(number: int) -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(number)

    Finalized()


def in_a_generator_that_is_dropped(number: int) -> None:
    def pieces() -> Iterator[int]:
        try:
            yield 1
        finally:
            signal.raise_signal(number)

    for _ in pieces():
        return


def in_a_callback_from_c(number: int) -> None:
    import ctypes

    callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))
    callback()


def in_a_callback_of_the_collector(number: int) -> None:
    def on_collection(phase: str, _: dict[str, Any]) -> None:
        if phase == "stop":
            gc.callbacks.remove(on_collection)
            signal.raise_signal(number)

    gc.callbacks.append(on_collection)
    gc.collect()


PLACES = [
    in_a_finalizer,
    in_a_generator_that_is_dropped,
    in_a_callback_from_c,
    in_a_callback_of_the_collector,
]


def work_on_after(place: Callable[[int], None], number: int) -> None:
    place(number)
    time.sleep(LIMIT_S)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING_SIGNALS])
def test_a_signal_where_python_cannot_raise(
    capfd: pytest.CaptureFixture[str], place: Callable[[int], None], number: signal.Signals
) -> None:
    with EndingSignals() as signals, pytest.raises(KeyboardInterrupt) as ended:
        work_on_after(place, number)
    if number == signal.SIGINT:
        assert (signals.received, ended.type) == (None, KeyboardInterrupt)
    else:
        assert isinstance(ended.value, Terminated)
        assert (signals.received, ended.value.number) == (number, number)
    assert capfd.readouterr().err == ""


def test_other_exceptions_there_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_type))

    class Finalized:
        def __del__(self) -> None:
            raise ValueError

    with EndingSignals():
        Finalized()
    assert reported == [ValueError]
