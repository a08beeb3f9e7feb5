"""Proves the conversation in the terminal as a person has it: the real ``dslocal chat``, the real
nano, keys and a screen.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import READY, Screen

from dslocal.terminal.chat.loop import FIRST_USE

CTRL_C = "\x03"
CTRL_D = "\x04"
ENTER = "\r"


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A home of its own, with nano converted."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    return Run(tmp_path)


@pytest.fixture
def chat(own: Run) -> Iterator[Screen]:
    with Screen([str(BINARY), "chat"], own.env()) as screen:
        screen.wait_for(
            "nano, in DeepSeek-R1's format: 4,096 tokens of context. /help lists commands."
        )
        screen.wait_for(READY)
        yield screen


def say(chat: Screen, text: str) -> None:
    chat.press(text + ENTER)


def ask(chat: Screen, question: str) -> str:
    """What was shown for ``question``, from the line that is left of the reasoning."""
    say(chat, question)
    chat.wait_for("reasoned for ")
    return chat.wait_for(READY)


def test_a_conversation(chat: Screen, own: Run) -> None:
    say(chat, "/set temperature 0")  # the likeliest answer, for a test without luck
    chat.wait_for(READY)
    first = ask(chat, "What is 47 × 86?")
    assert re.match(r"\d+\.\d s, \d+ tokens\s", first)
    assert "4042" in first
    assert "multiply" not in first
    assert "4047" in ask(chat, "Now add 5 to that.")

    say(chat, "/think")
    assert "4042" in chat.wait_for(READY)
    say(chat, "/stats")
    assert "seed" in chat.wait_for("seed ")
    chat.wait_for(READY)
    (own.home / "settings.ini").write_text("host = example.com\nport = 8080\n")
    say(chat, f"/file '{own.home / 'settings.ini'}'")
    chat.wait_for("settings.ini goes with the next question")
    chat.wait_for(READY)
    assert "8080" in ask(chat, "What is the port?")
    assert "8080" in ask(chat, "/retry")

    chat.press(CTRL_D)
    assert chat.leave() == 0
    assert "\x1b]" not in chat.raw
    history = own.home / "state" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+What is 47 × 86?\n" in history.read_text(encoding="utf-8")
    (saved,) = (own.home / "state" / "sessions").glob("*.jsonl")
    assert own.inside("sessions", "rm", saved.stem).returncode == 0
    assert "+" not in history.read_text(encoding="utf-8")  # neither questions nor commands


def interrupt(chat: Screen) -> bool:
    """Asks, and presses Ctrl-C when something came. Whether that was before the end of the
    answer.
    """
    say(chat, "What is 987654 × 321?")
    start = len(chat.text)
    while len(chat.text) < start + 300:
        if chat.wait_for("\n", READY).endswith(READY):
            return False  # it was a short answer
    chat.press(CTRL_C)
    ended = chat.wait_for("interrupted", "press Ctrl-C again to exit").endswith("interrupted")
    chat.wait_for(READY)
    return ended


def test_ctrl_c_ends_an_answer_and_nothing_else(chat: Screen) -> None:
    say(chat, "/set temperature 5")  # babble that seldom ends by itself
    chat.wait_for("temperature 5: R1's model card recommends 0.5 to 0.7")
    chat.wait_for(READY)
    assert any(interrupt(chat) for _ in range(5))
    assert "Traceback" not in chat.text
    assert "KeyboardInterrupt" not in chat.text
    for command in ("/clear", "/set temperature 0"):  # the babble would be read again
        say(chat, command)
        chat.wait_for(READY)
    assert "The capital of Peru is Lima." in ask(chat, "capital of peru")
    chat.press(CTRL_C)
    chat.wait_for("press Ctrl-C again to exit")
    chat.wait_for(READY)
    chat.press(CTRL_C)
    assert chat.leave() == 0


@pytest.mark.parametrize(
    "args", [[], ["chat"], ["chat", "nano"]], ids=lambda args: " ".join(args) or "none"
)
def test_without_a_terminal(run: Run, args: list[str]) -> None:
    done = run(*args, stdin=b"hello\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"dslocal: chat needs a terminal (dslocal ask needs none)\n"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["chat", "nothing"], 3, "no model or file called 'nothing' (on this machine: nano"),
        (["chat", "-f", "/no/file"], 3, "/no/file: no such file"),
        (["chat", "--ctx", "100"], 2, "--ctx: 100 is out of range"),
    ],
)
def test_refused_at_once(run: Run, args: list[str], code: int, said: str) -> None:
    with Screen([str(BINARY), *args], run.env()) as screen:
        assert screen.leave() == code
        # one message, which a narrow terminal wraps between words
        shown = " ".join(screen.text.split())
        assert said in shown
        assert shown.startswith("dslocal: ")
        assert shown.count("dslocal: ") == 1


def left(own: Run, *args: str, question: str) -> tuple[str, int, int]:
    """A chat of one question: what was shown, and the tokens of its prompt and those of them that
    were cached.
    """
    with Screen([str(BINARY), "chat", *args], own.env()) as chat:
        chat.wait_for(READY)
        say(chat, "/set temperature 0")
        chat.wait_for(READY)
        ask(chat, question)
        say(chat, "/stats")
        shown = chat.wait_for(" cached)")
        chat.wait_for(READY)
        chat.wait_for_idleness()  # it repairs its cache while the user thinks
        chat.press(CTRL_D)
        assert chat.leave() == 0
        prompt, cached = re.findall(r"prompt ([\d,]+) tokens \(([\d,]+) cached", shown)[-1]
        return chat.text, int(prompt.replace(",", "")), int(cached.replace(",", ""))


def test_a_conversation_is_continued(own: Run) -> None:
    left(own, question="What is 47 × 86?")
    states = list((own.home / "state" / "sessions").glob("*.kv"))
    assert [stat.S_IMODE(file.stat().st_mode) for file in states] == [0o600]
    shown, prompt, cached = left(own, "--resume", question="Now add 5 to that.")
    assert "continuing the conversation of" in shown
    assert "4047" in shown
    assert shown.count("continue it: dslocal chat --resume") == 1
    assert prompt - cached < 40  # the new question
    states[0].write_bytes(b"damaged")
    shown, prompt, cached = left(own, "--resume", question="Now add 5 to that.")
    assert "4052" in shown
    assert len(list((own.home / "state" / "sessions").glob("*.jsonl"))) == 1


def test_nothing_to_go_on_with(own: Run) -> None:
    """Proves that there is an error for no conversation, and for one that is not there."""
    for args, said in [
        (["--resume"], "no conversation to resume (dslocal chat starts one)"),
        (
            ["--resume", "20010101-000000-abcd"],
            "no conversation called '20010101-000000-abcd' (dslocal sessions lists them)",
        ),
        (["--resume=x\x1b[2J"], "no conversation called 'x\\x1b[2J' (dslocal sessions lists them)"),
    ]:
        with Screen([str(BINARY), "chat", *args], own.env()) as chat:
            chat.wait_for(said)
            assert chat.leave() == 3


def test_first_use(own: Run) -> None:
    """Proves that the first chat of a home explains itself in three lines, the second does not, and
    what --resume may look like.
    """
    with Screen([str(BINARY), "chat"], own.env()) as chat:
        shown = chat.wait_for(READY)
        assert all(line in shown for line in FIRST_USE)
        assert all(len(line) <= 80 for line in FIRST_USE)
        say(chat, "/set temperature 0")
        chat.wait_for(READY)
        ask(chat, "capital of peru")
        (saved,) = (own.home / "state" / "sessions").glob("*.jsonl")
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        with Screen([str(BINARY), "chat", "--resume"], own.env()) as other:  # two at once
            other.wait_for("is open in another terminal: this chat continues with a copy")
            assert FIRST_USE[0] not in other.wait_for(READY)
            ask(other, "capital of france")
            say(other, "/exit")
            assert other.leave() == 0
        ask(chat, "capital of italy")
        say(chat, "/exit")
        assert chat.leave() == 0
    for args in (
        ["nano", "--resume"],
        ["--resume", saved.stem],
        ["--resume", saved.stem[-4:], "nano"],
        [f"--resume={saved.stem}"],
    ):
        with Screen([str(BINARY), "chat", *args], own.env()) as chat:
            chat.wait_for("continuing the conversation of")
            chat.wait_for("2 questions")
            chat.wait_for(READY)
            chat.press(CTRL_D)
            assert chat.leave() == 0
    with Screen([str(BINARY), "ask", "capital of peru"], own.env()) as after:
        assert after.leave() == 0
        assert "first use" not in after.text
    with Screen([str(BINARY), "chat", "--resume", "zzzz"], own.env()) as chat:
        chat.wait_for("no model or file called 'zzzz'")
        chat.wait_for("dslocal sessions")
        assert chat.leave() == 3


def test_answer_now_and_typing_ahead(own: Run) -> None:
    """Proves that Ctrl-N ends reasoning that would not end, the answer follows, and what is typed
    meanwhile is in the next line.
    """
    folder = own.home / "config"
    folder.mkdir()
    (folder / "config.toml").write_text(
        'max_tokens = 3000\nlogit_bias = ["</think>=-100", "<｜end▁of▁sentence｜>=-100"]\n',
        encoding="utf-8",
    )
    with Screen([str(BINARY), "chat"], own.env()) as chat:
        chat.wait_for(READY)
        say(chat, "What is 987654 × 321?")
        chat.wait_for("Ctrl-N answers now, Ctrl-C stops")
        start = len(chat.text)
        while len(chat.text) < start + 200:
            chat.wait_for("\n")
        chat.press("/se\x0ets")  # the key among others
        chat.wait_for("reasoned for ")
        chat.wait_for(READY)
        chat.wait_for("/sets")
        chat.press("\x7f" + ENTER)
        chat.wait_for("logit_bias [")
        chat.wait_for(READY)
        chat.press("some words")
        chat.wait_for("some words")
        chat.press(CTRL_C)  # clears the line, and does not begin to leave
        chat.wait_for(READY)
        chat.press(CTRL_C)
        chat.wait_for("press Ctrl-C again to exit")


def test_a_cut_answer_goes_on_after_a_restart(own: Run) -> None:
    """Proves that an answer cut in its reasoning is there after a restart, marked, and continues to
    the right end.
    """
    with Screen([str(BINARY), "chat"], own.env()) as chat:
        for line in ("/set temperature 0", "/set max_tokens 60"):
            say(chat, line)
            chat.wait_for(READY)
        say(chat, "What is 47 × 86?")
        chat.wait_for("the answer was cut off after 60 tokens; /continue resumes it")
        chat.wait_for(READY)
        chat.process.kill()
    with Screen([str(BINARY), "chat", "--resume"], own.env()) as chat:
        chat.wait_for("the last answer was cut (/continue resumes it)")
        chat.wait_for(READY)
        say(chat, "/set temperature 0")
        chat.wait_for(READY)
        assert "4042" in ask(chat, "/continue")


def test_a_dumb_terminal(own: Run) -> None:
    """Proves that a terminal without any abilities, and one without colour, get plain words."""
    with Screen([str(BINARY), "chat"], {**own.env(), "TERM": "dumb", "NO_COLOR": "1"}) as chat:
        chat.wait_for("› ")
        for asked, said in (
            ("/set temperature 0", "temperature 0"),
            ("capital of peru", "The capital of Peru is Lima."),
            ("/copy", "has no clipboard"),
            ("/stats", "seed "),
        ):
            say(chat, asked)
            chat.wait_for(said)
            chat.wait_for("› ")
        say(chat, "/exit")
        assert chat.leave() == 0
        assert "\x1b" not in chat.raw
