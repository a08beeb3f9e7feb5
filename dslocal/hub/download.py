"""Whole downloads, kept: in huggingface_hub's own cache, where other programs find them too, and
its files are used here.

A file enters the cache only when its hash is right, and one that another program put there is
hashed once before it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from dslocal.errors import DownloadError, NotFoundError
from dslocal.home.paths import cache_dir
from dslocal.home.state import read_state, write_state

from . import http
from .fetch import (
    DAMAGED,
    PARTIAL,
    DownloadCallback,
    FileCallback,
    ProgressSum,
    content_hash,
    fetch,
    require_disk_space,
    suffixed,
)
from .manifest import Manifest, RemoteFile
from .repository import HubRepository, Repository

VERIFIED = "verified"
MAX_REMEMBERED = 2000
_COMMIT = re.compile("[0-9a-f]{40}")

Notify = Callable[[str], None]


def download(
    remote: Repository,
    manifest: Manifest,
    files: Sequence[RemoteFile],
    *,
    on_progress: DownloadCallback | None = None,
    notify: Notify,
) -> Path:
    """Brings ``files`` here, verified, and returns the folder that they are in under their names.

    Processes that want the same wait for each other. ``notify`` is told what the user should know,
    ``on_progress`` how far it has come. Raises DownloadError, NotFoundError.
    """
    snapshot, blobs = _folders(remote, manifest)
    for folder in (snapshot, blobs):
        if not folder.resolve().is_relative_to(snapshot.parent.parent.resolve()):
            raise DownloadError(
                f"{folder}: is a link that leads out of the cache", hint=f"rm {folder}"
            )
    try:
        with _alone(manifest.origin, notify):
            waiting = [file for file in files if not _is_good(snapshot / file.name, file)]
            require_disk_space(
                _existing(snapshot),
                sum(_left(blobs / file.hash, file) for file in waiting),
                manifest.origin,
            )
            tick = ProgressSum(waiting, on_progress)
            for file in waiting:
                _bring(
                    remote, manifest, file, snapshot / file.name, blobs / file.hash, tick, notify
                )
            if isinstance(remote, HubRepository) and remote.revision != manifest.commit:
                _write_ref(snapshot.parent.parent / "refs", remote.revision, manifest.commit)
    except OSError as e:
        raise http.explain_error(e, manifest.origin) from e
    return snapshot


def missing_files(
    remote: Repository, manifest: Manifest, files: Sequence[RemoteFile]
) -> list[RemoteFile]:
    """Those of ``files`` that are not here."""
    snapshot, _ = _folders(remote, manifest)
    return [file for file in files if not _has_size(snapshot / file.name, file.size)]


def cached_snapshot(remote: Repository) -> Path | None:
    """The folder of what was last downloaded of ``remote``, whole or not, without asking
    anybody.
    """
    if not isinstance(remote, HubRepository):
        folders = sorted(
            _plain_root(remote.origin).glob("*/*"), key=lambda folder: folder.stat().st_mtime
        )
        return folders[-1] if folders else None
    root = _hub_root(remote)
    commit = remote.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (root / "refs" / commit).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    folder = root / "snapshots" / commit
    return folder if _COMMIT.fullmatch(commit) and folder.is_dir() else None


def _folders(remote: Repository, manifest: Manifest) -> tuple[Path, Path]:
    """Where files get their names, and where their contents lie."""
    if isinstance(remote, HubRepository):
        root = _hub_root(remote)
        return root / "snapshots" / manifest.commit, root / "blobs"
    folder = _plain_root(remote.origin) / manifest.commit[:12] / manifest.name
    return folder, folder


def _hub_root(remote: HubRepository) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{remote.repository.replace('/', '--')}"


def _plain_root(origin: str) -> Path:
    return cache_dir() / "checkpoints" / hashlib.sha256(origin.encode()).hexdigest()[:12]


@contextmanager
def _alone(origin: str, notify: Notify) -> Iterator[None]:
    """Waits for other processes that download from ``origin``."""
    from filelock import FileLock, Timeout

    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(
        folder
        / f"{quote(origin, safe='')[:120]}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.lock"
    )
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notify(f"{origin}: another process is downloading it; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _bring(
    remote: Repository,
    manifest: Manifest,
    file: RemoteFile,
    path: Path,
    blob: Path,
    tick: FileCallback,
    notify: Notify,
) -> None:
    blob = blob if path.parent != blob.parent else path
    blob.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if blob.exists() and not _is_good(blob, file):
        notify(
            f"{manifest.origin}: {file.name}: the copy in the cache is damaged; put aside and fetched again"
        )
        blob.replace(suffixed(blob, DAMAGED))
    if not blob.exists():
        blob.unlink(missing_ok=True)  # a link that leads nowhere
        if remark := fetch(remote, manifest, file, blob, tick=tick):
            notify(remark)
        _remember(blob, file)
    if path != blob:
        _link(blob, path)


def _link(blob: Path, path: Path) -> None:
    """As huggingface_hub lays out its cache: a relative link, or a copy where there are no
    links.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        new.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        new.hardlink_to(blob)
    new.replace(path)


def _is_good(path: Path, file: RemoteFile) -> bool:
    """Whether ``path`` is the file, by its hash, which is looked at once."""
    if not _has_size(path, file.size):
        return False
    if read_state(VERIFIED).get(file.hash) == _stamp(path):
        return True
    good = content_hash(path, file) == file.hash
    if good:
        _remember(path, file)
    return good


def _remember(path: Path, file: RemoteFile) -> None:
    known = read_state(VERIFIED)
    known.pop(file.hash, None)
    write_state(VERIFIED, dict([*known.items(), (file.hash, _stamp(path))][-MAX_REMEMBERED:]))


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _left(blob: Path, file: RemoteFile) -> int:
    """Bytes that are still to come."""
    if _has_size(blob, file.size):
        return 0
    partial = suffixed(blob, PARTIAL)
    return max(0, file.size - (partial.stat().st_size if partial.exists() else 0))


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _write_ref(refs: Path, revision: str, commit: str) -> None:
    """So that this revision is found without the hub."""
    path = refs / revision
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.write_text(commit, encoding="ascii")
        new.replace(path)


def download_checkpoint(
    remote: Repository,
    patterns: Sequence[str],
    *,
    on_progress: DownloadCallback | None = None,
    notify: Notify,
) -> Path:
    """The folder of the whole checkpoint at ``remote``: downloaded, or, without a network, as it is
    here.

    Raises DownloadError, which says what is missing, and NotFoundError.
    """
    from huggingface_hub import constants

    try:
        manifest = remote.manifest()
    except DownloadError as e:
        folder = cached_snapshot(remote)
        if folder is None or not (folder / "config.json").is_file():
            raise
        gone = missing_weights(folder)
        if gone:
            names = ", ".join(gone[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
            raise DownloadError(
                f"{remote.origin}: {len(gone)} of its files are missing here: {names}", hint=e.hint
            ) from e
        if not constants.is_offline_mode():
            notify(f"{e}; going on with the copy that is here")
        return folder
    files = manifest.matching(patterns)
    if not any(file.name == "config.json" for file in files):
        raise NotFoundError(f"{remote.origin}: has no config.json: it is no checkpoint")
    return download(remote, manifest, files, on_progress=on_progress, notify=notify)


def missing_weights(folder: Path) -> list[str]:
    """The weights that the folder of a checkpoint should have, by its index, and has not."""
    import json

    index = folder / "model.safetensors.index.json"
    try:
        listed = (
            json.loads(index.read_bytes())["weight_map"].values()
            if index.is_file()
            else ["model.safetensors"]
        )
        return sorted(
            {name for name in listed if isinstance(name, str) and not (folder / name).is_file()}
        )
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return []
