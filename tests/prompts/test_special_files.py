"""Proves that pipes are read to their end, and that what is not a file to read is refused."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dslocal.errors import UsageError
from dslocal.prompts.files import attach_files, read_text


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/", "is a directory"),
        ("/dev/zero", "is a device"),
        ("/dev/null", "is a device"),
        ("/dev/null/x", "cannot be read: Not a directory"),
    ],
)
def test_what_is_not_a_file(path: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        attach_files([Path(path)], "q")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read everything, so it is somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.mark.usefixtures("nobody")
def test_no_permission() -> None:
    with (
        tempfile.NamedTemporaryFile() as file
    ):  # in a folder that everybody may enter, unlike pytest's
        Path(file.name).chmod(0)
        with pytest.raises(UsageError, match="cannot be read: Permission denied"):
            attach_files([Path(file.name)], "q")


def test_a_loop_of_links_and_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("loop", "socket"):
            with pytest.raises(UsageError, match=f"^{name}: cannot be read: "):
                attach_files([Path(name)], "q")


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dslocal.files.PIPE_PATIENCE_S", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="pipe: is a pipe that nobody writes to"):
        read_text(pipe)


@pytest.mark.parametrize(
    "pieces",
    [["a", "b\r\n", "c"], ["x" * 100_000] * 5, [""]],
    ids=["slow", "more than a pipe holds", "nothing"],
)
def test_a_pipe(tmp_path: Path, pieces: list[str]) -> None:
    """As the shell's <(command) is: read to its end, however slowly it comes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("w", newline="") as opened:
            for piece in pieces:
                time.sleep(0.05)
                opened.write(piece)
                opened.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_text(pipe) == "".join(pieces).replace("\r\n", "\n")
    finally:
        writer.join()


def test_a_pipe_without_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        try:
            with pipe.open("wb") as opened:
                while True:
                    opened.write(b"a" * (1 << 16))
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(UsageError, match="more than the 8,388,608 bytes"):
        read_text(pipe)
    writer.join()
