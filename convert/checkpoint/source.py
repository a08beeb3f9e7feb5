"""Where a checkpoint's files come from: anything that opens them by name, as a folder, or a stream
that fetches them one by one.

The converter never learns more than this, so it never touches the network.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from dslocal.errors import CheckpointError, NotFoundError

_COMMIT, _SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")
MAX_NOTE = 4096  # bytes
CHUNK = 8 << 20

FileRange: TypeAlias = tuple[str, int, int]  # file, first byte, bytes


class Source(Protocol):
    """The files of one checkpoint."""

    @property
    def name(self) -> str:
        """What the checkpoint calls itself: becomes ``general.name``."""

    @property
    def revision(self) -> str:
        """The commit that the files are of; empty when it is not known."""

    def sha256(self, file: str) -> str:
        """The file's published hash in hexadecimal; empty when it is not known."""

    def identity(self, file: str) -> str:
        """Something that changes when the file's content does."""

    def exists(self, file: str) -> bool:
        """Whether there is a file of that name."""

    def size(self, file: str) -> int:
        """Bytes. Raises CheckpointError as :meth:`open` does."""

    def open(self, file: str) -> BinaryIO:
        """The file, open for reading, with a real ``fileno()``. Raises CheckpointError when it is
        missing or not to be read.
        """

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        """A small piece of a file that need not be opened for it; fewer bytes at its end."""

    def same(self, one: FileRange, other: FileRange) -> bool:
        """Whether two pieces of one length are equal, however long."""

    def expect(self, files: Iterable[str]) -> None:
        """Says that the headers of ``files`` will be read next."""

    def begin(self, shards: Sequence[str], pieces: Iterable[FileRange]) -> Sequence[str]:
        """Told which shards are to be converted, in order, and which ``pieces`` of any shard will
        be read meanwhile.

        Returns the shards to open from now on, in order: these, and after them others that the
        source itself must see.
        """

    def release(self, file: str) -> None:
        """Says that all that was made of ``file`` is on disk."""


class FolderSource:
    """A checkpoint in a folder. No name and no symlink leads out of it."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NotFoundError(f"{folder}: no such checkpoint folder")
        self._folder = folder
        self._root = _root(folder.resolve())

    @property
    def name(self) -> str:
        model = (
            self._root.name.removeprefix("models--").rsplit("--", 1)[-1]
            if self._in_cache
            else self._root.name
        )
        return os.fsencode(model).decode("utf-8", "replace")  # a GGUF holds nothing but UTF-8

    @property
    def revision(self) -> str:
        return self._folder.resolve().name if self._in_cache else self._downloaded("config.json")[0]

    def sha256(self, file: str) -> str:
        blob = (self._folder / file).resolve().name if self._in_cache else self._downloaded(file)[1]
        return blob if _SHA256.fullmatch(blob) else ""

    def identity(self, file: str) -> str:
        with self.open(file) as opened:
            stat_ = os.fstat(opened.fileno())
        return f"{stat_.st_size} {stat_.st_mtime_ns}"

    def size(self, file: str) -> int:
        with self.open(file) as opened:
            return os.fstat(opened.fileno()).st_size

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        with self.open(file) as opened:
            return os.pread(opened.fileno(), nbytes, start)

    def same(self, one: FileRange, other: FileRange) -> bool:
        with self.open(one[0]) as left, self.open(other[0]) as right:
            return all(
                os.pread(left.fileno(), min(CHUNK, one[2] - done), one[1] + done)
                == os.pread(right.fileno(), min(CHUNK, one[2] - done), other[1] + done)
                for done in itertools.takewhile(
                    lambda done: done < one[2], itertools.count(0, CHUNK)
                )
            )

    def expect(self, files: Iterable[str]) -> None:
        """Nothing: they are here."""

    def begin(self, shards: Sequence[str], pieces: Iterable[FileRange]) -> Sequence[str]:
        return shards

    def release(self, file: str) -> None:
        """Nothing: it stays."""

    @property
    def _in_cache(self) -> bool:
        """Whether the folder is a snapshot in huggingface_hub's own cache."""
        return self._root != self._folder.resolve()

    def _downloaded(self, file: str) -> tuple[str, str]:
        """Commit and hash that huggingface_hub noted when it downloaded ``file`` into a plain
        folder; empty ones otherwise.
        """
        note = self._folder / ".cache" / "huggingface" / "download" / f"{file}.metadata"
        try:
            lines = (
                note.read_text(encoding="utf-8").splitlines()
                if note.is_file() and note.stat().st_size < MAX_NOTE
                else []
            )
        except (OSError, ValueError):
            lines = []
        commit, etag = (*lines, "", "")[:2]
        return (commit if _COMMIT.fullmatch(commit) else "", etag)

    def exists(self, file: str) -> bool:
        try:
            return (self._folder / file).is_file()
        except OSError:  # as of a name that is too long
            return False

    def open(self, file: str) -> BinaryIO:
        if not is_plain_name(file):
            raise CheckpointError("is not a plain file name inside the checkpoint", file=file)
        path = self._folder / file
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root):
                raise CheckpointError(
                    f"leads out of the checkpoint, to {str(real)!r:.200}", file=file
                )
            if not real.is_file():  # asked first: opening a FIFO waits for somebody who writes
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
    """Whether ``file`` is a bare file name: no folder, no drive, nothing that a terminal would act
    on.
    """
    return (
        bool(file)
        and file not in (".", "..")
        and not set(file) & set("/\\:\0")
        and file.isprintable()
        and len(file) < 256
    )


def _root(folder: Path) -> Path:
    """What a symlink in ``folder`` may point into: the folder, or the whole model in
    huggingface_hub's own cache layout.
    """
    model = folder.parent.parent
    return (
        model if folder.parent.name == "snapshots" and model.name.startswith("models--") else folder
    )
