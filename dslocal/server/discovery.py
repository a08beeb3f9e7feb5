"""Discovery files: where servers of this user run and with which model, for other commands.

A server has a file for each model that it has loaded, readable by its user alone. It holds a lock
on the file for as long, so a file that can be locked was left by a server that was killed, and is
deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dslocal import home
from dslocal.gguf.header import GgufHeader

FOLDER = "servers"
MAX_VALUE_LENGTH = 200  # characters of a metadata value that a file keeps
MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True)
class RunningServer:
    """A server, as its discovery file describes it.

    Attributes:
        pid: Its process.
        host: The address to connect to.
        port: The port to connect to.
        name: The model's name.
        path: The model's file.
        fingerprint: The fingerprint of that file.
        family: The name of the model's family.
        n_ctx: Tokens of context of each answer.
        kv_type: The type of the KV cache.
        token: The key that dslocal's own commands send.
        metadata: The short values of the file's header: reading all of a large header takes longer
            than many an answer.
        data_start: The offset in the file at which its header ends.
    """

    pid: int
    host: str
    port: int
    name: str
    path: str
    fingerprint: str
    family: str
    n_ctx: int
    kv_type: str
    token: str
    metadata: dict[str, Any]
    data_start: int

    @property
    def header(self) -> GgufHeader:
        """Return the file's header as far as it is known: without tensors and vocabulary."""
        return GgufHeader(3, dict(self.metadata), (), self.data_start)


def short_metadata(header: GgufHeader) -> dict[str, Any]:
    """Return the metadata that a discovery file keeps."""
    return {
        key: value
        for key, value in header.metadata.items()
        if not isinstance(value, list) and len(str(value)) <= MAX_VALUE_LENGTH
    }


def new_token() -> str:
    """Return a random key."""
    return secrets.token_urlsafe(32)


@contextmanager
def announced(server: RunningServer) -> Iterator[None]:
    """Let :func:`running_servers` find ``server`` while inside.

    Where the state folder cannot be written, the server runs without being found.
    """
    folder = home.state_dir() / FOLDER
    file = folder / f"{server.pid}-{server.fingerprint[:12]}.json"
    new = file.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, json.dumps(asdict(server)).encode())
            new.replace(file)
        yield
    finally:
        new.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        os.close(fd)


def running_servers() -> list[RunningServer]:
    """Return the servers of this user that are alive, the youngest first.

    Files of dead servers are deleted.
    """
    folder = home.state_dir() / FOLDER
    try:
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    except OSError:
        return []
    found = [_read(file) for file in files]
    return [server for server in found if server is not None]


def _read(file: Path) -> RunningServer | None:
    """Return the server of a discovery file; None if it is dead, or the file not trustworthy."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o077:
                return None  # another user could have written it
            if _is_locked(opened.fileno()):
                return RunningServer(**json.loads(opened.read(MAX_FILE_BYTES)))
            file.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError):
        return None
    return None


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
