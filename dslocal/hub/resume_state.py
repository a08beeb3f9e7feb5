"""What the folder of a stream records about the run that started it, so that another run continues
it.

The commit matters most: shards of two commits are never mixed.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from dslocal.errors import DownloadError, NotFoundError
from dslocal.files import read_json_object

from .fetch import Notify
from .manifest import Manifest
from .repository import HubRepository, Repository

LOCK = "lock"
MAX_STATE = 1 << 16  # bytes
_STATE = "resume.json"  # the name on users' disks


@dataclass(frozen=True)
class ResumeState:
    """What a run works on.

    Attributes:
        manifest: What the repository holds, at the commit of the run that started it.
        run_id: What tells that start from others.
    """

    manifest: Manifest
    run_id: str


def has_resume_state(folder: Path) -> bool:
    """Return whether an earlier run has started in ``folder``."""
    return (folder / _STATE).exists()


def resume_or_start(remote: Repository, folder: Path, notify: Notify) -> ResumeState:
    """Return the state of an earlier run in ``folder``, or of a new one.

    Args:
        remote: The repository.
        folder: Where the stream keeps its files; what is there is deleted by a new run.
        notify: Receives what the user should know.

    Raises:
        DownloadError: The repository cannot be read, or has changed and has no commits.
        NotFoundError: The commit of the earlier run is gone.
    """
    known = _read_state(remote, folder / _STATE)
    if known is None:
        return _start(remote, folder)
    commit, run_id = known["commit"], known["id"]
    hint = f"to start over: rm -r {shlex.quote(str(folder))}"
    if not isinstance(remote, HubRepository):
        manifest = remote.manifest()
        if manifest.commit != commit:
            raise DownloadError(f"{remote.origin}: has changed since this was started", hint=hint)
        return ResumeState(manifest, run_id)
    try:
        manifest = replace(remote, revision=commit).manifest()
    except NotFoundError as e:
        raise NotFoundError(
            f"{remote.origin}: commit {commit[:12]}, which was started, no longer exists",
            hint=hint,
        ) from e
    now = remote.manifest().commit
    if now != commit:
        moved = f"{remote.origin} has moved to commit {now[:12]}"
        notify(f"{moved}; continuing with {commit[:12]}, which was started ({hint})")
    return ResumeState(replace(manifest, origin=remote.origin), run_id)


def remove_links(folder: Path) -> None:
    """Delete symbolic links: dslocal makes none here, and writing through one lands elsewhere."""
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()


def _start(remote: Repository, folder: Path) -> ResumeState:
    manifest = remote.manifest()
    run_id = os.urandom(8).hex()
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
    state = {"origin": remote.origin, "commit": manifest.commit, "id": run_id}
    new = folder / f"{_STATE}.new"
    new.write_text(json.dumps(state), encoding="utf-8")
    new.replace(folder / _STATE)
    return ResumeState(manifest, run_id)


def _read_state(remote: Repository, file: Path) -> dict[str, str] | None:
    """Return what an earlier run of ``remote`` has written, if it can be read."""
    try:
        known = read_json_object(file, max_bytes=MAX_STATE)
    except (OSError, ValueError):
        return None
    for key in ("origin", "commit", "id"):
        if not isinstance(known.get(key), str):
            return None
    return known if known["origin"] == remote.origin else None
