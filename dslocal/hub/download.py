"""Whole downloads, kept in huggingface_hub's own cache, where other programs find them too.

Files that are in the cache already are used. A file enters the cache only when its hash is right,
and one that another program put there is hashed once before it is used. Files from other servers go
into dslocal's own cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dslocal.errors import DownloadError, NotFoundError
from dslocal.files import write_atomic
from dslocal.home.paths import cache_dir
from dslocal.home.state import read_state, write_state

from . import http
from .fetch import (
    DAMAGED,
    PARTIAL,
    DownloadCallback,
    FileCallback,
    Notify,
    ProgressSum,
    content_hash,
    fetch_file,
    require_disk_space,
    suffixed,
)
from .manifest import Manifest, RemoteFile
from .repository import HubRepository, Repository

VERIFIED = "verified"  # the state that remembers which files were hashed
MAX_REMEMBERED = 2000
MAX_NAMED = 5  # missing files in a message
INDEX = "model.safetensors.index.json"

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class _CachePaths:
    """Where one file is in the cache: ``blob`` holds its content, ``link`` its name.

    Outside Hugging Face's cache both are the same.
    """

    blob: Path
    link: Path


@dataclass(frozen=True)
class _Cache:
    """The cache's folders of one repository at one commit."""

    snapshot: Path  # names
    blobs: Path  # contents

    @property
    def repository(self) -> Path:
        """The folder of the repository."""
        return self.snapshot.parent.parent

    def paths(self, file: RemoteFile) -> _CachePaths:
        """Return where ``file`` is in it."""
        link = self.snapshot / file.name
        if self.blobs == self.snapshot:
            return _CachePaths(link, link)
        return _CachePaths(self.blobs / file.hash, link)

    def require_inside(self) -> None:
        """Raise DownloadError where a folder is a link that leads out of the cache."""
        root = self.repository.resolve()
        for folder in (self.snapshot, self.blobs):
            if not folder.resolve().is_relative_to(root):
                raise DownloadError(
                    f"{folder}: is a link to a place outside the cache",
                    hint=f"rm {shlex.quote(str(folder))}",
                )


def download(
    remote: Repository,
    manifest: Manifest,
    files: Sequence[RemoteFile],
    *,
    on_progress: DownloadCallback | None = None,
    notify: Notify,
) -> Path:
    """Fetch ``files``, verified, and return the folder that they are in under their names.

    Processes that want the same files wait for each other.

    Args:
        remote: Where they come from.
        manifest: What that holds.
        files: Some of its files.
        on_progress: Receives how far the download has come.
        notify: Receives what the user should know.

    Raises:
        DownloadError: A file cannot be fetched, or the disk has no room.
        NotFoundError: A file is not there.
    """
    cache = _cache_of(remote, manifest)
    cache.require_inside()
    try:
        with _lock(manifest.origin, notify):
            missing = [file for file in files if not _is_good(cache.paths(file).link, file)]
            nbytes = sum(_bytes_left(cache.paths(file).blob, file) for file in missing)
            require_disk_space(_existing_parent(cache.snapshot), nbytes, manifest.origin)
            tick = ProgressSum(missing, on_progress)
            for file in missing:
                _fetch_into(cache.paths(file), remote, manifest, file, tick, notify)
            if isinstance(remote, HubRepository) and remote.revision != manifest.commit:
                _write_ref(cache.repository / "refs", remote.revision, manifest.commit)
    except OSError as e:
        raise http.explain_error(e, manifest.origin) from e
    return cache.snapshot


def download_checkpoint(
    remote: Repository,
    patterns: Sequence[str],
    *,
    on_progress: DownloadCallback | None = None,
    notify: Notify,
) -> Path:
    """Return the folder of a whole checkpoint: downloaded, or without a network as it is here.

    Args:
        remote: Where it is published.
        patterns: Shell patterns of its files.
        on_progress: Receives how far the download has come.
        notify: Receives what the user should know.

    Raises:
        DownloadError: It cannot be fetched; the message says which files are missing.
        NotFoundError: It is not there, or has no config.json.
    """
    from huggingface_hub import constants

    try:
        manifest = remote.manifest()
    except DownloadError as e:
        folder = cached_snapshot(remote)
        if folder is None or not (folder / "config.json").is_file():
            raise
        missing = missing_weights(folder)
        if missing:
            raise DownloadError(_missing(remote, missing), hint=e.hint) from e
        if not constants.is_offline_mode():
            notify(f"{e}; using the copy that is here")
        return folder
    files = manifest.matching(patterns)
    if not any(file.name == "config.json" for file in files):
        raise NotFoundError(f"{remote.origin}: has no config.json: it is not a checkpoint")
    return download(remote, manifest, files, on_progress=on_progress, notify=notify)


def missing_files(
    remote: Repository, manifest: Manifest, files: Sequence[RemoteFile]
) -> list[RemoteFile]:
    """Return those of ``files`` that are not in the cache."""
    cache = _cache_of(remote, manifest)
    return [file for file in files if not _has_size(cache.paths(file).link, file.size)]


def missing_weights(folder: Path) -> list[str]:
    """Return the weights that a checkpoint's index names and that ``folder`` lacks."""
    index = folder / INDEX
    try:
        if index.is_file():
            listed = json.loads(index.read_bytes())["weight_map"].values()
        else:
            listed = ["model.safetensors"]
        missing = set()
        for name in listed:
            if isinstance(name, str) and not (folder / name).is_file():
                missing.add(name)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return []
    return sorted(missing)


def cached_snapshot(remote: Repository) -> Path | None:
    """Return the folder of what was last downloaded of ``remote``, complete or not.

    Nothing is requested.
    """
    if not isinstance(remote, HubRepository):
        folders = list(_plain_root(remote.origin).glob("*/*"))
        return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
    root = _hub_root(remote)
    commit = remote.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (root / "refs" / commit).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    folder = root / "snapshots" / commit
    return folder if _COMMIT.fullmatch(commit) and folder.is_dir() else None


def _missing(remote: Repository, names: Sequence[str]) -> str:
    listed = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        listed += f" and {len(names) - MAX_NAMED} more"
    return f"{remote.origin}: {len(names)} of its files are missing here: {listed}"


def _cache_of(remote: Repository, manifest: Manifest) -> _Cache:
    if isinstance(remote, HubRepository):
        root = _hub_root(remote)
        return _Cache(root / "snapshots" / manifest.commit, root / "blobs")
    folder = _plain_root(remote.origin) / manifest.commit[:12] / manifest.name
    return _Cache(folder, folder)


def _hub_root(remote: HubRepository) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{remote.repository.replace('/', '--')}"


def _plain_root(origin: str) -> Path:
    return cache_dir() / "checkpoints" / _short_hash(origin)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def _lock(origin: str, notify: Notify) -> Iterator[None]:
    """Hold the lock of ``origin``; other processes that download from it are waited for."""
    from filelock import FileLock, Timeout

    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{quote(origin, safe='')[:120]}-{_short_hash(origin)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notify(f"{origin}: another process is downloading it; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch_into(
    paths: _CachePaths,
    remote: Repository,
    manifest: Manifest,
    file: RemoteFile,
    tick: FileCallback,
    notify: Notify,
) -> None:
    """Fetch ``file`` into the cache unless its content is there, and give it its name."""
    blob = paths.blob
    blob.parent.mkdir(parents=True, exist_ok=True)
    paths.link.parent.mkdir(parents=True, exist_ok=True)
    if blob.exists() and not _is_good(blob, file):
        copy = f"{manifest.origin}: {file.name}: the copy in the cache"
        notify(f"{copy} is damaged; it is renamed and downloaded again")
        blob.replace(suffixed(blob, DAMAGED))
    if not blob.exists():
        blob.unlink(missing_ok=True)  # a link that leads nowhere
        remark = fetch_file(remote, manifest, file, blob, tick=tick)
        if remark:
            notify(remark)
        _remember(blob, file)
    if paths.link != blob:
        _link(blob, paths.link)


def _link(blob: Path, link: Path) -> None:
    """Link to the content as huggingface_hub does: relative, else by a hard link."""
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        new.symlink_to(os.path.relpath(blob, link.parent))
    except OSError:
        new.hardlink_to(blob)
    new.replace(link)


def _is_good(path: Path, file: RemoteFile) -> bool:
    """Return whether ``path`` is the file, by its hash, which is computed once and remembered."""
    if not _has_size(path, file.size):
        return False
    if read_state(VERIFIED).get(file.hash) == _stamp(path):
        return True
    is_good = content_hash(path, file) == file.hash
    if is_good:
        _remember(path, file)
    return is_good


def _remember(path: Path, file: RemoteFile) -> None:
    known = read_state(VERIFIED)
    known.pop(file.hash, None)  # so that it becomes the last
    known[file.hash] = _stamp(path)
    write_state(VERIFIED, dict(list(known.items())[-MAX_REMEMBERED:]))


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _bytes_left(blob: Path, file: RemoteFile) -> int:
    """Return how many bytes are still to be fetched."""
    if _has_size(blob, file.size):
        return 0
    partial = suffixed(blob, PARTIAL)
    return max(0, file.size - (partial.stat().st_size if partial.exists() else 0))


def _existing_parent(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _write_ref(refs: Path, revision: str, commit: str) -> None:
    """Note the commit of ``revision``, so that it is found without the hub."""
    path = refs / revision
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        write_atomic(path, commit, beside=new, is_durable=False)
