"""Proves that a chat survives kill -9 with every finished turn, and that two chats at once do not
disturb each other.

``tests/benchmarks/kill_chat.py`` does the same 30 times.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat.killed_chats import babble_until_kept, run_trials
from support.cli.running import BINARY, Run
from support.server.page_client import PageClient
from support.server.serving import serving
from support.terminal.screen import READY, Screen

from dslocal.chat import load_conversation


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_finished_turns_survive(run: Run, tmp_path: Path, kills: int) -> None:
    """Proves that turns are in order, files for their owner alone, and no line is damaged."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    trials = run_trials(Run(tmp_path), kills, seed=5)
    assert trials.finished
    assert sum(trials.kills.values()) == kills


def test_the_answer_on_its_way_survives_and_is_continued(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(run.home / "cache")
    own = Run(tmp_path)
    with Screen([str(BINARY), "chat"], own.env()) as chat:
        chat.wait_for(READY)
        file = babble_until_kept(chat, own)
        chat.process.kill()
    killed = load_conversation(file)
    assert killed.history[-1].cut == "interrupted"
    assert killed.partial is not None
    with Screen([str(BINARY), "chat", "--resume"], own.env()) as chat:
        chat.wait_for("the last answer was cut (/continue resumes it)")
        chat.wait_for(READY)
        chat.press("/set max_tokens 8\r")
        chat.wait_for(READY)
        chat.press("/continue\r")
        chat.wait_for("cut off after")
        chat.wait_for(READY)
    longer = load_conversation(file).partial
    assert longer is not None
    known = len(killed.partial.ids)
    assert (longer.ids[:known], len(longer.ids)) == (killed.partial.ids, known + 8)


def test_the_pages_answer_survives_its_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(run.home / "cache")
    with serving(tmp_path, "--ctx", "4096") as server:
        page = PageClient(server)
        id = page.begin_until_kept()
        server.kill()
        cut = page.stored(id).history[-1]
    assert cut.cut in ("interrupted", "length")
    assert cut.content
    with serving(tmp_path, "--ctx", "4096") as server:
        page = PageClient(server)
        shown = page.show(id)["messages"][-1]
        assert (shown["text"], shown["reasoning"]) == (cut.content, cut.reasoning)
        assert page.send(id, action="continue", settings={"max_tokens": 8}).status_code == 202
        assert page.end(id)["error"] is None
