"""A chat loop on the real nano, in a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chat.chat_loop import Loop

from dslocal.engine import LlamaContext, LlamaModel


@pytest.fixture(scope="module")
def long_context(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, 2048) as context:
        yield context


@pytest.fixture
def loop(
    long_context: LlamaContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loop]:
    """In a home and a working folder of its own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DSLOCAL_HOME", str(home))
    for name in ("TMUX", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    loop = Loop(long_context, home)
    yield loop
    loop.conversation.close()
