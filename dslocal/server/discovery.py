"""A note that says where a server runs and with which model, for other commands of the same user:
readable by that user alone.

The server holds a lock on its note as long as it lives, so a note that can be locked was left by
one that was killed, and goes.
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
SHORT = 200  # characters of a value


@dataclass(frozen=True)
class RunningServer:
    """``fingerprint`` is the model file's (:func:`dslocal.gguf.fingerprint`), ``token`` what
    the server asks of those who found it this way. ``metadata`` are the short values of the file's
    header, which ends at ``data_start``: reading all of a large one takes longer than many an
    answer."""

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
        """The file's header as far as it is known here: without tensors and vocabulary."""
        return GgufHeader(3, dict(self.metadata), (), self.data_start)


def short(header: GgufHeader) -> dict[str, Any]:
    """The metadata that a note holds."""
    return {
        key: value
        for key, value in header.metadata.items()
        if not isinstance(value, list) and len(str(value)) <= SHORT
    }


def new_token() -> str:
    return secrets.token_urlsafe(32)


@contextmanager
def lit(beacon: RunningServer) -> Iterator[None]:
    """While inside, :func:`running` finds the server. A home that cannot be written to is no reason
    to fail.
    """
    folder = home.state_dir() / FOLDER
    file = folder / f"{beacon.pid}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, json.dumps(asdict(beacon)).encode())
            new.replace(file)
        yield
    finally:
        new.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        os.close(fd)


def running() -> list[RunningServer]:
    """The servers of this user that are alive, the youngest first. Notes of dead ones are
    deleted.
    """
    found = []
    folder = home.state_dir() / FOLDER
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        found = [beacon for file in files if (beacon := _read(file))]
    return found


def _read(file: Path) -> RunningServer | None:
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o077:
                return None  # somebody else could have written it
            try:
                fcntl.flock(opened.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return RunningServer(**json.loads(opened.read(1 << 16)))
            file.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError):
        return None
    return None
