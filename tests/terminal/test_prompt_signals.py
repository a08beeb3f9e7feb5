"""Proves that a signal which comes while a line is read ends the program without a traceback."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

import pytest
from prompt_toolkit.completion import DummyCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from dslocal.cli.process.signals import ENDING_SIGNALS, EndingSignals
from dslocal.errors import Terminated
from dslocal.terminal.chat.input_line import InputLine


class ActingHistory(InMemoryHistory):
    """Does something while prompt-toolkit loads it, in a task of its own."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def load_history_strings(self) -> Iterable[str]:
        self._act()
        return []


def read_line(act: Callable[[], None], typed: str = "") -> str:
    with create_pipe_input() as keys:
        keys.send_text(typed)
        line = InputLine(
            ActingHistory(act), DummyCompleter(), lambda _: "", input=keys, output=DummyOutput()
        )
        return line.read()


@pytest.mark.parametrize("number", ENDING_SIGNALS)
@pytest.mark.parametrize("typed", ["", "a line\r"], ids=["nothing typed", "a line typed"])
def test_a_signal_in_a_task_of_prompt_toolkit(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    typed: str,
) -> None:
    with EndingSignals() as signals, pytest.raises(Terminated) as ended:
        read_line(lambda: os.kill(os.getpid(), number), typed)
    assert (signals.received, ended.value.number) == (number, number)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_the_handlers_are_those_of_before() -> None:
    with EndingSignals():
        before = [signal.getsignal(number) for number in ENDING_SIGNALS]
        assert read_line(lambda: None, "a line\r") == "a line"
        assert [signal.getsignal(number) for number in ENDING_SIGNALS] == before


def test_a_handler_that_does_not_raise() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        assert read_line(lambda: os.kill(os.getpid(), signal.SIGTERM), "a line\r") == "a line"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
