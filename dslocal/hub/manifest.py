"""What a repository says it holds: names, sizes and hashes at one commit. All of it is hostile
until checked here.
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
MAX_NAME, MAX_PART = (
    500,
    240,
)  # characters; bytes between slashes: file systems take 255, and something is put behind them

SHA256, SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """``sha256`` of its content, or, for the small files of a git repository, ``blob``: git's SHA-1
    of it.
    """

    name: str
    size: int
    sha256: str = ""
    blob: str = ""

    @property
    def hash(self) -> str:
        """In hexadecimal; what a cache calls it."""
        return self.sha256 or self.blob


@dataclass(frozen=True)
class Manifest:
    """``origin`` names the place in messages; ``commit`` is the state of it that all files are of:
    git's where there is ``git``.
    """

    origin: str
    name: str
    commit: str
    files: Mapping[str, RemoteFile] = field(repr=False)
    git: bool = True

    def file(self, name: str) -> RemoteFile:
        """Raises NotFoundError."""
        found = self.files.get(name)
        if found is None:
            raise NotFoundError(f"{self.origin}: has no {name!r:.200}")
        return found

    def matching(self, patterns: Iterable[str]) -> list[RemoteFile]:
        """The files of its top folder whose names match any of the shell ``patterns``, by name."""
        wanted = tuple(patterns)
        return [
            self.files[name]
            for name in sorted(self.files)
            if "/" not in name and any(fnmatchcase(name, pattern) for pattern in wanted)
        ]


def parse_manifest(origin: str, name: str, answer: object) -> Manifest:
    """What the hub's API says of a revision, checked. Raises DownloadError naming what cannot be
    right.
    """
    commit = answer.get("sha") if isinstance(answer, dict) else None
    siblings = answer.get("siblings") if isinstance(answer, dict) else None
    if not isinstance(commit, str) or not SHA1.fullmatch(commit) or not isinstance(siblings, list):
        raise DownloadError(
            f"{origin}: what the hub says of it makes no sense", hint="is HF_ENDPOINT a hub?"
        )
    if len(siblings) > MAX_FILES:
        raise DownloadError(
            f"{origin}: lists {len(siblings):,} files; more than {MAX_FILES:,} cannot be right"
        )
    files = [_file(origin, sibling) for sibling in siblings]
    return Manifest(origin, name, commit, index_by_name(origin, files))


def index_by_name(origin: str, files: Iterable[RemoteFile]) -> dict[str, RemoteFile]:
    """Raises DownloadError for a name that occurs twice."""
    found: dict[str, RemoteFile] = {}
    for file in files:
        if file.name in found:
            raise DownloadError(f"{origin}: lists {file.name!r:.200} twice")
        found[file.name] = file
    return found


def checked_name(origin: str, name: object) -> str:
    """``name`` if it is a relative path without anything that leads elsewhere or that a terminal
    acts on. Raises DownloadError.
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
    if max(len(part.encode()) for part in (*path.parts, "")) > MAX_PART:
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


def _file(origin: str, sibling: object) -> RemoteFile:
    if not isinstance(sibling, dict):
        raise DownloadError(f"{origin}: what the hub says of its files makes no sense")
    name = checked_name(origin, sibling.get("rfilename"))
    lfs: Any = sibling.get("lfs")
    size: Any = sibling.get("size")
    sha256: Any = ""
    blob: Any = sibling.get("blobId")
    if lfs is not None:
        size, sha256 = (
            (lfs.get("size"), lfs.get("sha256")) if isinstance(lfs, dict) else (None, None)
        )
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise DownloadError(f"{origin}: {name}: the hub says that it has {size!r:.40} bytes")
    if lfs is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
        raise DownloadError(f"{origin}: {name}: the hub gives {sha256!r:.80} for its SHA-256")
    if lfs is None and not (isinstance(blob, str) and SHA1.fullmatch(blob)):
        raise DownloadError(f"{origin}: {name}: the hub gives {blob!r:.80} for its hash")
    return RemoteFile(name, size, sha256, "" if sha256 else blob)
