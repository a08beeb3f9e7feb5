"""The files that a repository lists: names, sizes and hashes at one commit.

Nothing in the list is trusted before it is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from dslocal.errors import DownloadError, NotFoundError

MAX_FILES = 20_000
MAX_SIZE = 1 << 48  # bytes of one file
MAX_NAME = 500  # characters
# Bytes between slashes: file systems take 255, and a suffix is put behind them.
MAX_NAME_PART = 240

SHA256, SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository.

    Attributes:
        name: Its path in the repository.
        size: Its length in bytes.
        sha256: The SHA-256 of its content in hexadecimal.
        blob: For small files of a git repository, which have no SHA-256: git's SHA-1.
    """

    name: str
    size: int
    sha256: str = ""
    blob: str = ""

    @property
    def hash(self) -> str:
        """The hash in hexadecimal, which is also its name in a cache."""
        return self.sha256 or self.blob


@dataclass(frozen=True)
class Manifest:
    """What a repository holds.

    Attributes:
        origin: The repository, as messages name it.
        name: What the model is called there.
        commit: The state that all files are of: git's commit where there is ``git``.
        files: The files by name.
        git: Whether it is a git repository.
    """

    origin: str
    name: str
    commit: str
    files: Mapping[str, RemoteFile] = field(repr=False)
    git: bool = True

    def file(self, name: str) -> RemoteFile:
        """Return the file called ``name``. Raises NotFoundError."""
        found = self.files.get(name)
        if found is None:
            raise NotFoundError(f"{self.origin}: has no {name!r:.200}")
        return found

    def matching(self, patterns: Iterable[str]) -> list[RemoteFile]:
        """Return the files of the top folder that match any of the shell ``patterns``, by name."""
        patterns = tuple(patterns)
        found = []
        for name in sorted(self.files):
            if "/" not in name and any(fnmatchcase(name, pattern) for pattern in patterns):
                found.append(self.files[name])
        return found


def parse_manifest(origin: str, name: str, response: object) -> Manifest:
    """Return what the hub's API says of a revision, checked.

    Args:
        origin: The repository, for messages.
        name: What the model is called.
        response: The parsed JSON of ``/api/models/OWNER/NAME/revision/REVISION?blobs=true``.

    Raises:
        DownloadError: It says what cannot be right.
    """
    commit = response.get("sha") if isinstance(response, dict) else None
    siblings = response.get("siblings") if isinstance(response, dict) else None
    if not isinstance(commit, str) or not SHA1.fullmatch(commit) or not isinstance(siblings, list):
        raise DownloadError(
            f"{origin}: the hub's description of it is not valid",
            hint="is HF_ENDPOINT the address of a hub?",
        )
    if len(siblings) > MAX_FILES:
        raise DownloadError(
            f"{origin}: lists {len(siblings):,} files; more than {MAX_FILES:,} cannot be right"
        )
    files = [_parse_file(origin, sibling) for sibling in siblings]
    return Manifest(origin, name, commit, index_by_name(origin, files))


def index_by_name(origin: str, files: Iterable[RemoteFile]) -> dict[str, RemoteFile]:
    """Return ``files`` by name. Raises DownloadError for a name that occurs twice."""
    found: dict[str, RemoteFile] = {}
    for file in files:
        if file.name in found:
            raise DownloadError(f"{origin}: lists {file.name!r:.200} twice")
        found[file.name] = file
    return found


def checked_name(origin: str, name: object) -> str:
    """Return ``name`` if it is a relative path that is safe to write to and to print.

    Raises:
        DownloadError: It leads out of the repository, is too long, or has control characters.
    """
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= MAX_NAME
        or not name.isprintable()
        or set(name) & set("\\:")
    ):
        raise DownloadError(
            f"{origin}: lists a file with an unusable name, {str(name)[:200]!r:.200}",
            hint="nothing was written",
        )
    path = PurePosixPath(name)
    if any(len(part.encode()) > MAX_NAME_PART for part in path.parts):
        raise DownloadError(
            f"{origin}: lists a file with a name that is too long, {name!r:.200}",
            hint="nothing was written",
        )
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise DownloadError(
            f"{origin}: lists {name!r:.200}, which leads out of the repository",
            hint="nothing was written",
        )
    return name


def _parse_file(origin: str, sibling: object) -> RemoteFile:
    if not isinstance(sibling, dict):
        raise DownloadError(f"{origin}: the hub's list of its files is not valid")
    name = checked_name(origin, sibling.get("rfilename"))
    lfs = sibling.get("lfs")
    if lfs is None:
        size = _checked_size(origin, name, sibling.get("size"))
        blob: Any = sibling.get("blobId")
        if not isinstance(blob, str) or not SHA1.fullmatch(blob):
            raise DownloadError(f"{origin}: {name}: the hub gives {blob!r:.80} for its hash")
        return RemoteFile(name, size, blob=blob)
    if not isinstance(lfs, dict):
        lfs = {}
    size = _checked_size(origin, name, lfs.get("size"))
    sha256: Any = lfs.get("sha256")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise DownloadError(f"{origin}: {name}: the hub gives {sha256!r:.80} for its SHA-256")
    return RemoteFile(name, size, sha256=sha256)


def _checked_size(origin: str, name: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise DownloadError(f"{origin}: {name}: the hub says that it has {size!r:.40} bytes")
    return size
