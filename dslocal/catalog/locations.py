"""Where a model that is not on this machine is published: by its name in models.yaml, its name on
the hub, or a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dslocal.errors import UsageError
from dslocal.hub.repository import DEFAULT_REVISION, HubRepository, Repository, parse_repository

from .model_entry import DEFAULT_FILES, ModelEntry
from .registry import load_registry


@dataclass(frozen=True)
class PublishedLocation:
    """``patterns`` are the files of the checkpoint, ``file`` is the one that was named, if any,
    ``entry`` what models.yaml knows of it.
    """

    name: str
    remote: Repository
    patterns: tuple[str, ...] = DEFAULT_FILES
    file: str = ""
    entry: ModelEntry | None = None


def find_published(text: str, *, revision: str | None = None) -> PublishedLocation | None:
    """What ``text`` means, None when it means nothing that is published, or something that is here
    under this very name.

    ``revision`` goes before what models.yaml says. Raises UsageError for a name that is spelled
    wrong.
    """
    if revision is not None and (
        not re.fullmatch(r"[\w./-]{1,200}", revision, re.ASCII)
        or {"", ".", ".."} & {*revision.split("/")}
    ):
        raise UsageError(f"--revision {revision!r:.100}: is no branch, tag or commit")
    registry = load_registry()
    entry = registry.get(text.lower())
    if entry is not None:
        return None if entry.local else _of_entry(entry, revision)
    if not text.startswith("hf:") and "://" not in text and _exists(text):
        return None
    named = parse_repository(text)
    if named is None:
        return None
    remote, file = named
    if isinstance(remote, HubRepository):
        entry = next(
            (
                entry
                for entry in registry.values()
                if entry.repository.lower() == remote.repository.lower()
            ),
            None,
        )
        if revision and remote.revision != DEFAULT_REVISION:
            raise UsageError(f"--revision {revision}: and {text} names another one")
        if entry is not None and not file and remote.revision == DEFAULT_REVISION:
            return _of_entry(entry, revision)
        remote = HubRepository(remote.repository, revision or remote.revision)
        return PublishedLocation(
            remote.repository.split("/")[1].lower(), remote, file=file, entry=entry
        )
    if revision:
        raise UsageError(f"--revision: {remote.origin} has none")
    return PublishedLocation(remote.origin.rsplit("/", 1)[-1].lower() or "model", remote)


def _of_entry(entry: ModelEntry, revision: str | None) -> PublishedLocation:
    return PublishedLocation(
        entry.name,
        HubRepository(entry.repository, revision or entry.revision),
        entry.files,
        entry=entry,
    )


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):
        return False
