"""What a stream's folder says of the run that began it, so that another one can go on: the commit
above all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dslocal.errors import DownloadError, NotFoundError

from .manifest import Manifest
from .repository import HubRepository, Repository

LOCK = "lock"
_BEGUN = "begun.json"

Notify = Callable[[str], None]


def has_resume_state(folder: Path) -> bool:
    return (folder / _BEGUN).exists()


def begun(remote: Repository, folder: Path, notify: Notify) -> tuple[Manifest, str]:
    """What ``remote`` holds, at the commit at which an earlier run began, and what tells that
    beginning from others.

    Raises DownloadError, and NotFoundError when that commit is no more.
    """
    commit, begin_id = _noted(remote, folder / _BEGUN)
    if not commit:
        return _begin(remote, folder)
    anew = f"to begin anew: rm -r {folder}"
    if isinstance(remote, HubRepository):
        try:
            manifest = replace(remote, revision=commit).manifest()
        except NotFoundError as e:
            raise NotFoundError(
                f"{remote.origin}: commit {commit[:12]}, which was begun, is there no longer",
                hint=anew,
            ) from e
        now = remote.manifest().commit
        if now != commit:
            notify(
                f"{remote.origin} has moved to commit {now[:12]}; going on with {commit[:12]}, which was begun ({anew})"
            )
        return replace(manifest, origin=remote.origin), begin_id
    manifest = remote.manifest()
    if manifest.commit != commit:
        raise DownloadError(f"{remote.origin}: has changed since this was begun", hint=anew)
    return manifest, begin_id


def remove_links(folder: Path) -> None:
    """None is ours, and what is written through one lands elsewhere."""
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()


def _begin(remote: Repository, folder: Path) -> tuple[Manifest, str]:
    manifest, begin_id = remote.manifest(), os.urandom(8).hex()
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
    new = folder / f"{_BEGUN}.new"
    new.write_text(
        json.dumps({"origin": remote.origin, "commit": manifest.commit, "id": begin_id}),
        encoding="utf-8",
    )
    new.replace(folder / _BEGUN)
    return manifest, begin_id


def _noted(remote: Repository, note: Path) -> tuple[str, str]:
    try:
        known = json.loads(note.read_bytes())
        return (
            (str(known["commit"]), str(known["id"]))
            if known["origin"] == remote.origin
            else ("", "")
        )
    except (OSError, ValueError, LookupError, TypeError):
        return "", ""
