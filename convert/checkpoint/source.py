"""The source of a checkpoint's files: anything that opens them by name.

That is a folder, or a stream that fetches the files one by one. The converter never learns more
than this, so it never touches the network.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from dslocal.errors import CheckpointError, NotFoundError
from dslocal.types import FileRange

MAX_NAME = 255  # characters
MAX_PARTS = 2  # of a file's path in the checkpoint: a folder and a name
MAX_LISTED = 20_000  # names of a folder
MAX_METADATA_BYTES = 4096  # of the file that huggingface_hub keeps beside a download
COMPARED_BYTES = 8 << 20  # at a time
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")


class Source(Protocol):
    """The files of one checkpoint."""

    @property
    def name(self) -> str:
        """Return what the checkpoint calls itself; it becomes ``general.name``."""

    @property
    def revision(self) -> str:
        """Return the commit that the files are of; empty where it is not known."""

    @property
    def is_local(self) -> bool:
        """Return whether any file can be opened at once, without fetching it first."""

    def sha256(self, file: str) -> str:
        """Return a file's published hash in hexadecimal; empty where it is not known."""

    def identity(self, file: str) -> str:
        """Return a text that changes when the file's content does."""

    def exists(self, file: str) -> bool:
        """Return whether there is a file of that name."""

    def files(self, folder: str = "") -> Sequence[str]:
        """Return the names of the files in the checkpoint, or in a folder of it, sorted."""

    def size(self, file: str) -> int:
        """Return a file's length in bytes. Raises CheckpointError as :meth:`open` does."""

    def open(self, file: str) -> BinaryIO:
        """Open a file for reading, with a real ``fileno()``.

        Raises:
            CheckpointError: It is missing or cannot be read.
        """

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        """Return a small piece of a file that need not be opened for it; less at the file's end."""

    def same(self, one: FileRange, other: FileRange) -> bool:
        """Return whether two pieces of one length are equal, however long they are."""

    def expect(self, files: Iterable[str]) -> None:
        """Announce that the headers of ``files`` will be read next."""

    def begin(self, shards: Sequence[str], pieces: Iterable[FileRange]) -> Sequence[str]:
        """Announce that the conversion begins.

        Args:
            shards: The shards that will be converted, in order.
            pieces: What will be read of any shard meanwhile.

        Returns:
            The shards to open from now on, in order: ``shards``, and after them others that the
            source itself must see.
        """

    def release(self, file: str) -> None:
        """Announce that all that was made of ``file`` is on disk."""


class FolderSource:
    """A checkpoint in a folder.

    No name leads out of it. A symlink may, to a regular file with the same suffix or into Hugging
    Face's cache: people keep one copy of the shards on a large disk, and link to it. So a link that
    somebody has planted in a checkpoint reaches weights or JSON that is checked like any other, and
    neither a device nor a private key.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder. Raises NotFoundError where there is none."""
        if not folder.is_dir():
            raise NotFoundError(f"{folder}: no such checkpoint folder")
        self._folder = folder
        self._root = _root_of(folder.resolve())

    @property
    def name(self) -> str:
        """Return the folder's name, or the model's in huggingface_hub's cache."""
        name = self._root.name
        if self._in_cache:
            name = name.removeprefix("models--").rsplit("--", 1)[-1]
        return os.fsencode(name).decode("utf-8", "replace")  # a GGUF holds UTF-8 alone

    @property
    def revision(self) -> str:
        """Return the commit that huggingface_hub downloaded; empty where it is not known."""
        if self._in_cache:
            return self._folder.resolve().name
        commit = self._download_metadata("config.json")[0]
        return commit if _COMMIT.fullmatch(commit) else ""

    @property
    def is_local(self) -> bool:
        """Return that any file can be opened at once."""
        return True

    def sha256(self, file: str) -> str:
        """Return the hash that huggingface_hub knows of a file; empty where there is none."""
        if self._in_cache:
            digest = (self._folder / file).resolve().name
        else:
            digest = self._download_metadata(file)[1]
        return digest if _SHA256.fullmatch(digest) else ""

    def identity(self, file: str) -> str:
        """Return a file's size and time."""
        with self.open(file) as opened:
            status = os.fstat(opened.fileno())
        return f"{status.st_size} {status.st_mtime_ns}"

    def files(self, folder: str = "") -> Sequence[str]:
        """Return the names in the folder, or in a folder of it, sorted."""
        try:
            with os.scandir(self._folder / folder) as entries:
                listed = itertools.islice(entries, MAX_LISTED)
                return sorted(entry.name for entry in listed if is_plain_name(entry.name))
        except OSError:
            return []

    def size(self, file: str) -> int:
        """Return a file's length in bytes. Raises CheckpointError."""
        with self.open(file) as opened:
            return os.fstat(opened.fileno()).st_size

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        """Return a piece of a file. Raises CheckpointError."""
        with self.open(file) as opened:
            return os.pread(opened.fileno(), nbytes, start)

    def same(self, one: FileRange, other: FileRange) -> bool:
        """Return whether two pieces of one length are equal. Raises CheckpointError."""
        with self.open(one.file) as left, self.open(other.file) as right:
            for done in range(0, one.nbytes, COMPARED_BYTES):
                nbytes = min(COMPARED_BYTES, one.nbytes - done)
                a = os.pread(left.fileno(), nbytes, one.start + done)
                b = os.pread(right.fileno(), nbytes, other.start + done)
                if a != b:
                    return False
        return True

    def expect(self, files: Iterable[str]) -> None:
        """Do nothing: the files are here."""

    def begin(self, shards: Sequence[str], pieces: Iterable[FileRange]) -> Sequence[str]:
        """Return ``shards`` as they are: a folder needs to see no others."""
        return shards

    def release(self, file: str) -> None:
        """Do nothing: the file stays."""

    @property
    def _in_cache(self) -> bool:
        """Return whether the folder is a snapshot in huggingface_hub's own cache."""
        return self._root != self._folder.resolve()

    def _download_metadata(self, file: str) -> tuple[str, str]:
        """Return the commit and ETag that huggingface_hub kept of a download into a folder.

        An ETag is the SHA-256 of a large file. Both are empty if the record does not exist.
        """
        record = self._folder / ".cache" / "huggingface" / "download" / f"{file}.metadata"
        lines: list[str] = []
        try:
            if record.is_file() and record.stat().st_size < MAX_METADATA_BYTES:
                lines = record.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            lines = []
        commit = lines[0] if lines else ""
        etag = lines[1] if len(lines) > 1 else ""
        return commit, etag

    def exists(self, file: str) -> bool:
        """Return whether there is a file of that name."""
        try:
            return (self._folder / file).is_file()
        except OSError:  # such as of a name that is too long
            return False

    def open(self, file: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            CheckpointError: It is missing, cannot be read, is not a regular file, or lies outside
                of the checkpoint.
        """
        parts = file.split("/")
        if len(parts) > MAX_PARTS or not all(map(is_plain_name, parts)):
            raise CheckpointError("is not a plain file name inside the checkpoint", file=file)
        path = self._folder / file
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root) and not _may_link_to(real, path.suffix):
                raise CheckpointError(
                    f"is a link out of the checkpoint, to {str(real)!r:.200}",
                    file=file,
                    hint=f"the target of a link must also end in {path.suffix}",
                )
            if not real.is_file():  # checked first: opening a FIFO waits for a writer
                raise CheckpointError("is not a regular file", file=file)
            return real.open("rb")
        except FileNotFoundError:
            raise CheckpointError(
                f"is missing from {self._folder}", file=file, hint="download the checkpoint again"
            ) from None
        except (OSError, RuntimeError) as e:
            raise CheckpointError(
                f"cannot be read: {getattr(e, 'strerror', None) or e}", file=file
            ) from e


def is_plain_name(file: str) -> bool:
    """Return whether it is a bare file name.

    That is: no folder, no drive, and no character that a terminal would act on.
    """
    return (
        file not in ("", ".", "..")
        and not set(file) & set("/\\:\0")
        and file.isprintable()
        and len(file) <= MAX_NAME
    )


def _may_link_to(real: Path, suffix: str) -> bool:
    """Return whether a link that ends in ``suffix`` may lead out of the checkpoint to ``real``."""
    if suffix and real.suffix == suffix:
        return True
    # Hugging Face's cache: models--OWNER--NAME/blobs/HASH
    in_cache = real.parent.name == "blobs" and real.parent.parent.name.startswith("models--")
    return in_cache and (_COMMIT.fullmatch(real.name) or _SHA256.fullmatch(real.name)) is not None


def _root_of(folder: Path) -> Path:
    """Return what a symlink in ``folder`` may point into.

    That is the folder, or the whole model in huggingface_hub's own cache layout.
    """
    model = folder.parent.parent
    if folder.parent.name == "snapshots" and model.name.startswith("models--"):
        return model
    return folder
