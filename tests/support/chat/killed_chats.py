"""A chat that is killed at random moments, next to one that is left alone: what must be on disk
after each kill.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import READY, Screen
from support.waiting import TimeLimit, exit_code_of, wait_until

from dslocal.chat import StoredConversation, load_conversation
from dslocal.prompts import Message

ENTER = "\r"
END = "<｜end▁of▁sentence｜>"
MAX_TURNS = 2  # that are finished in a chat before it is killed
ANSWER_S = 0.5  # within which a kill hits an answer, if the machine is quiet
ATTEMPTS = 20  # to get an answer that goes on


@dataclass
class Trials:
    """One conversation that is killed and resumed.

    Attributes:
        finished: The questions whose answers were seen to end.
        torn: How often the last line of the file was incomplete.
        kills: How many kills hit which state.
    """

    own: Run
    dice: random.Random
    saved: StoredConversation | None = None
    finished: list[str] = field(default_factory=list)
    torn: int = 0
    kills: dict[str, int] = field(default_factory=dict)

    def once(self) -> None:
        """Start a chat and kill it.

        Raises:
            AssertionError: Something that was finished is lost, or the file is damaged.
        """
        args = ["--resume", self.saved.id] if self.saved else []
        before = {file.name for file in _files(self.folder)}
        with Screen([str(BINARY), "chat", *args], self.own.env()) as chat:
            chat.wait_for(READY)
            for _ in range(self.dice.randint(0, MAX_TURNS)):
                self.finished.append(self._ask(chat))
                chat.wait_for(READY)
            where = self.dice.choice(["asking", "answering", "answering"])
            if where == "answering":
                self._ask(chat)
                time.sleep(self.dice.uniform(0, ANSWER_S))
            self.kills[where] = self.kills.get(where, 0) + 1
            _kill(chat.process.pid, child_only=self.dice.random() < 0.5)
            exit_code_of(chat.process)
        new = {file.name for file in _files(self.folder)} - before
        if self.saved is None and new:
            self.saved = _free(self.folder / new.pop())
        self.check()

    def _ask(self, chat: Screen) -> str:
        question = f"What is {self.dice.randint(10, 99)} + {self.dice.randint(10, 99)}?"
        chat.press(question + ENTER)
        return question

    def check(self) -> None:
        if self.saved is None:
            assert not self.finished
            return
        data = self.saved.file.read_bytes()
        self.torn += not data.endswith(b"\n")
        self.saved = _free(self.saved.file)
        answered = _answered(self.saved.history)
        assert answered[: len(self.finished)] == self.finished, (answered, self.finished)
        self.finished = answered  # one may have ended as the kill came
        for file in self.folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    @property
    def folder(self) -> Path:
        return self.own.home / "state" / "sessions"


def _answered(history: list[Message]) -> list[str]:
    """Return the questions that have an answer."""
    return [
        message.typed or message.content
        for message, after in itertools.pairwise(history)
        if after.role == "assistant"
    ]


def _free(file: Path) -> StoredConversation:
    """Wait until the killed process has let go of ``file``, and return the conversation in it."""
    limit = TimeLimit()
    while True:
        saved = load_conversation(file)
        if saved.lock():
            saved.close()
            return saved
        assert not limit.is_over(), f"{file} is still held"
        time.sleep(0.02)


def _kill(process: int, *, child_only: bool) -> None:
    """Kill the process that does the work, or the one that waits for it and takes it along."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    with suppress(ProcessLookupError):
        os.kill(int(children[0]) if child_only and children else process, signal.SIGKILL)


@dataclass
class Undisturbed:
    """A chat in the same home that is never killed."""

    chat: Screen
    asked: list[str] = field(default_factory=list)

    def ask(self, number: int) -> None:
        question = f"What is {number} + 11?"
        self.chat.press(question + ENTER)
        assert self.chat.comes(READY, 90)
        self.asked.append(question)

    def check(self, folder: Path, other: str) -> None:
        """Leave the chat and check that all of it is on disk."""
        self.chat.press("/exit" + ENTER)
        assert self.chat.leave() == 0
        (mine,) = (
            saved
            for file in folder.glob("*.jsonl")
            if file.stem != other and (saved := load_conversation(file))
        )
        assert _answered(mine.history) == self.asked


def run_trials(own: Run, times: int, seed: int) -> Trials:
    """Kill a chat ``times`` times, with another chat beside it.

    Raises:
        AssertionError: Something is lost.
    """
    trials = Trials(own, random.Random(seed))
    with pytest.MonkeyPatch.context() as patch, Screen([str(BINARY), "chat"], own.env()) as other:
        patch.setenv("DSLOCAL_HOME", str(own.home))  # where this process looks for them
        assert other.comes(READY, 90)
        beside = Undisturbed(other)
        for number in range(times):
            trials.once()
            beside.ask(number)
        beside.check(trials.folder, trials.saved.id if trials.saved else "")
    return trials


def babble(chat: Screen) -> None:
    """Have the answers that follow never end by themselves, and hardly ever repeat themselves."""
    for line in (f"/set logit_bias {END}=-100", "/set temperature 5"):
        chat.press(line + ENTER)
        chat.wait_for(READY)


def babble_until_kept(chat: Screen, own: Run) -> Path:
    """Ask for an answer without end, and return its conversation once some of it is on disk.

    An answer that repeats itself is ended. Then another one is asked for.
    """
    folder = own.home / "state" / "sessions"
    babble(chat)
    for asked in range(1, ATTEMPTS + 1):
        chat.press("What is the capital of Peru?" + ENTER)
        wait_until(partial(_has_answers, folder, asked))
        (file,) = _files(folder)
        if load_conversation(file).history[-1].cut == "interrupted":  # as it is while it goes on
            return file
        chat.wait_for(READY)
    raise AssertionError("every answer ended")


def _has_answers(folder: Path, count: int) -> bool:
    """Return whether so many answers, or some of the last, are in the only conversation."""
    return any(len(load_conversation(file).history) >= 2 * count for file in _files(folder))


def _files(folder: Path) -> list[Path]:
    """Return the files of conversations; one has just been created while it has no line."""
    return [file for file in folder.glob("*.jsonl") if b"\n" in file.read_bytes()]
