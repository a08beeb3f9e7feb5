"""Where a model that is not on this machine is published.

It is named by its name in models.yaml, its name on the hub, or a URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dslocal.errors import UsageError
from dslocal.hub.repository import DEFAULT_REVISION, HubRepository, Repository, parse_repository

from .model_entry import DEFAULT_FILES, ModelEntry
from .registry import load_registry


@dataclass(frozen=True)
class PublishedLocation:
    """Where a model is published.

    Attributes:
        name: What it is called here.
        remote: The repository or folder.
        patterns: Shell patterns of the files of its checkpoint.
        file: The one file that was named, if any.
        entry: What models.yaml knows of it.
    """

    name: str
    remote: Repository
    patterns: tuple[str, ...] = DEFAULT_FILES
    file: str = ""
    entry: ModelEntry | None = None


def find_published(text: str, *, revision: str | None = None) -> PublishedLocation | None:
    """Return where the model that ``text`` names is published.

    Args:
        text: A name of models.yaml, ``hf:OWNER/NAME``, ``OWNER/NAME`` or a URL.
        revision: A branch, tag or commit, instead of what models.yaml says.

    Returns:
        None when ``text`` names nothing that is published, or something here has this very name.

    Raises:
        UsageError: The name or the revision is malformed, or both give a revision.
    """
    if revision is not None and not _is_revision(revision):
        raise UsageError(f"--revision {revision!r:.100}: is no branch, tag or commit")
    registry = load_registry()
    entry = registry.get(text.lower())
    if entry is not None:
        return None if entry.local else published_location(entry, revision)
    if not text.startswith("hf:") and "://" not in text and _exists(text):
        return None
    named = parse_repository(text)
    if named is None:
        return None
    if isinstance(named.repository, HubRepository):
        return _on_hub(text, named.repository, named.file, revision, registry.values())
    if revision:
        raise UsageError(f"--revision: {named.repository.origin} has none")
    name = named.repository.origin.rsplit("/", 1)[-1].lower() or "model"
    return PublishedLocation(name, named.repository)


def _on_hub(
    text: str,
    remote: HubRepository,
    file: str,
    revision: str | None,
    entries: Iterable[ModelEntry],
) -> PublishedLocation:
    entry = None
    for candidate in entries:
        if candidate.repository.lower() == remote.repository.lower():
            entry = candidate
            break
    if revision and remote.revision != DEFAULT_REVISION:
        raise UsageError(f"--revision {revision}: and {text} names another one")
    if entry is not None and not file and remote.revision == DEFAULT_REVISION:
        return published_location(entry, revision)
    remote = HubRepository(remote.repository, revision or remote.revision)
    name = remote.repository.split("/")[1].lower()
    return PublishedLocation(name, remote, file=file, entry=entry)


def published_location(entry: ModelEntry, revision: str | None = None) -> PublishedLocation:
    """Return where a model of models.yaml is published.

    Args:
        entry: The model.
        revision: A branch, tag or commit, instead of what models.yaml says.
    """
    remote = HubRepository(entry.repository, revision or entry.revision)
    return PublishedLocation(entry.name, remote, entry.files, entry=entry)


def _is_revision(text: str) -> bool:
    if not re.fullmatch(r"[\w./-]{1,200}", text, re.ASCII):
        return False
    return not {"", ".", ".."} & set(text.split("/"))


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):
        return False
