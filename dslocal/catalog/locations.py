"""Where a model that is not on this machine is published.

It is named by its name in models.yaml, its name on the hub, or a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from dslocal.errors import UsageError
from dslocal.gguf.parts import parse_part_name
from dslocal.hub.repository import DEFAULT_REVISION, HubRepository, Repository, parse_repository

from .model_entry import DEFAULT_FILES, ModelEntry
from .names import Spelling, read_spelling
from .registry import find_entry, load_registry

NAME_HINT = "write it as hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE"


@dataclass(frozen=True)
class PublishedLocation:
    """Where a model is published.

    Attributes:
        name: What it is called here.
        remote: The repository or folder.
        patterns: Shell patterns of the files of its checkpoint.
        file: The one file that was named, if any.
        entry: What models.yaml knows of it.
        quant: The quantization that was written behind the name, if any.
    """

    name: str
    remote: Repository
    patterns: tuple[str, ...] = DEFAULT_FILES
    file: str = ""
    entry: ModelEntry | None = None
    quant: str = ""


def find_published(text: str, *, revision: str | None = None) -> PublishedLocation | None:
    """Return where the model that ``text`` names is published.

    Args:
        text: A name of models.yaml, ``hf:OWNER/NAME``, ``OWNER/NAME``, a page of the hub or a URL,
            in any spelling that :mod:`dslocal.catalog.names` knows.
        revision: A branch, tag or commit, instead of what models.yaml says.

    Returns:
        None when ``text`` names nothing that is published, or something here has this very name.

    Raises:
        UsageError: The name or the revision is malformed, or both give a revision.
    """
    if revision is not None and not _is_revision(revision):
        raise UsageError(f"--revision {revision!r:.100}: is not a branch, tag or commit")
    spelling = read_spelling(text)
    is_plain_name = not text.startswith("hf:") and "://" not in text
    if is_plain_name and text.lower() not in load_registry() and _exists(text):
        return None
    if spelling is None:
        return _behind_url(text, revision)
    if spelling.repository:
        return _on_hub(text, spelling, revision)
    entry = find_entry(spelling.name)
    if entry is None or entry.local:
        return None
    return replace(published_location(entry, revision), quant=spelling.quant)


def _behind_url(text: str, revision: str | None) -> PublishedLocation | None:
    """Return a folder behind a URL that does not belong to the hub."""
    named = parse_repository(text)
    if named is None:
        return None
    if revision:
        raise UsageError(f"--revision: {named.repository.origin} has none")
    name = named.repository.origin.rsplit("/", 1)[-1].lower() or "model"
    return PublishedLocation(name, named.repository, file=named.file)


def _on_hub(text: str, spelling: Spelling, revision: str | None) -> PublishedLocation:
    written = spelling.revision or DEFAULT_REVISION
    if not _is_revision(written) or ".." in spelling.file.split("/"):
        raise UsageError(f"{text!r:.100} is not a name on the hub", hint=NAME_HINT)
    remote = HubRepository(spelling.repository, written, spelling.endpoint)
    file = _first_file(spelling.file)
    entry = entry_of_repository(remote.repository)
    if revision and remote.revision not in (DEFAULT_REVISION, revision):
        raise UsageError(f"--revision {revision} contradicts {text}, which names another one")
    is_default = remote.revision == DEFAULT_REVISION and remote.endpoint is None
    if entry is not None and not file and is_default:
        return replace(published_location(entry, revision), quant=spelling.quant)
    remote = replace(remote, revision=revision or remote.revision)
    name = remote.repository.split("/")[1].lower()
    return PublishedLocation(name, remote, file=file, entry=entry, quant=spelling.quant)


def _first_file(name: str) -> str:
    """Return the file to open for a model, whichever of its parts ``name`` is."""
    folder, last = name.rpartition("/")[0], name.rpartition("/")[2]
    part = parse_part_name(last)
    if part is None:
        return name
    return f"{folder}/{part.all_parts()[0]}" if folder else part.all_parts()[0]


def entry_of_repository(repository: str) -> ModelEntry | None:
    """Return the model of models.yaml whose repository on the hub is ``repository``."""
    for entry in load_registry().values():
        if entry.repository.lower() == repository.lower():
            return entry
    return None


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
