"""A source that downloads its shards one after the other, and deletes each after its last use.

It has the methods of ``dslocal.convert``'s Source, which this package does not know.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from dslocal.errors import CheckpointError
from dslocal.hub.fetch import (
    DAMAGED,
    DownloadCallback,
    FileCallback,
    Notify,
    ProgressSum,
    fetch_file,
    ignore_progress,
)
from dslocal.hub.manifest import RemoteFile
from dslocal.hub.repository import Repository
from dslocal.hub.resume_state import ResumeState
from dslocal.types import FileRange

from .parallel import map_in_threads
from .range_requests import RangeRequests, checkpoint_file
from .used_ranges import UsedRanges

MAX_SHARDS = 2  # on the disk
MAX_REQUESTS = 8  # at a time
SAMPLE_COUNT, SAMPLE_BYTES = 16, 64 << 10  # of two long pieces that are compared
POLL_S = 0.2  # how soon Ctrl-C is noticed
# How long the fetching thread is waited for at the end: it finishes what it writes. One that waits
# for a silent server is left alone, since it writes nothing more once it has been stopped.
JOIN_S = 0.3

_PIECES = "pieces.jsonl"
_SHARDS = "*.safetensors*"


class StreamSource:
    """The files of a checkpoint, each in a folder for as long as it is needed."""

    def __init__(
        self,
        remote: Repository,
        state: ResumeState,
        folder: Path,
        *,
        on_progress: DownloadCallback | None,
        notify: Notify,
    ) -> None:
        """Take a repository and a folder, whose lock the caller holds.

        Args:
            remote: The repository.
            state: What it holds, at the commit that this stream stays with.
            folder: Where files are kept while they are needed.
            on_progress: Receives how far the download has come.
            notify: Receives what the user should know.
        """
        self._remote = remote
        self._manifest = state.manifest
        self._run_id = state.run_id
        self._folder = folder
        self._on_progress = on_progress
        self._notify = notify
        self._pieces = UsedRanges(folder / _PIECES)
        self._tick: FileCallback = ignore_progress
        self._heads: dict[str, bytes] = {}  # first bytes of files, read ahead
        self._order: tuple[str, ...] | None = None  # of shards, once the conversion has started
        # the shards by what became of them; one lock for all four
        self._changed = threading.Condition()
        self._held: set[str] = set()  # on the disk, or waited for
        self._verified: set[str] = set()  # may be opened
        self._released: set[str] = set()  # deleted for good
        self._errors: dict[str, BaseException] = {}
        self._fetcher: threading.Thread | None = None
        self._stop = threading.Event()
        self._requests = RangeRequests(remote, self._manifest, self._pieces, self._stop)

    @property
    def has_started(self) -> bool:
        """Whether a conversion has started."""
        return self._order is not None

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._manifest.name

    @property
    def revision(self) -> str:
        """The commit, where the repository has commits."""
        return self._manifest.commit if self._manifest.git else ""

    @property
    def is_local(self) -> bool:
        """Whether any file can be opened at once: none can, they are fetched one by one."""
        return False

    def sha256(self, file: str) -> str:
        """Return a file's published hash; empty where there is none."""
        return self._manifest.file(file).sha256

    def identity(self, file: str) -> str:
        """Return what changes when a file does, or when the stream is started over.

        What was made of a stream whose notes are gone cannot be vouched for.
        """
        return f"{self._manifest.file(file).hash} {self._run_id}"

    def exists(self, file: str) -> bool:
        """Return whether the repository has the file."""
        return file in self._manifest.files

    def files(self, folder: str = "") -> Sequence[str]:
        """Return the names of the files in the repository, or in a folder of it, sorted."""
        start = f"{folder}/" if folder else ""
        names = [
            name.removeprefix(start) for name in self._manifest.files if name.startswith(start)
        ]
        return sorted(name for name in names if "/" not in name)

    def size(self, file: str) -> int:
        """Return a file's length in bytes. Raises CheckpointError where there is none."""
        return checkpoint_file(self._manifest, file).size

    def open(self, file: str) -> BinaryIO:
        """Open a verified file; this waits until it has been downloaded.

        Shards come in the order that :meth:`begin` returned.

        Raises:
            CheckpointError: The file does not exist, or its content is not what was used of it.
            DownloadError: It cannot be fetched.
        """
        if file not in (self._order or ()):
            path = self._folder / file
            if not path.exists():
                self._fetch(checkpoint_file(self._manifest, file))
            return path.open("rb")
        with self._changed:
            self._held.add(file)
            self._changed.notify_all()
            while file not in self._verified and file not in self._errors:
                self._changed.wait(POLL_S)
            if file in self._errors:
                raise self._errors[file]
        return (self._folder / file).open("rb")

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        """Return a small piece of a file, from the disk if that is here, else by range.

        Raises:
            CheckpointError: It is not what it was before.
        """
        with suppress(FileNotFoundError), (self._folder / file).open("rb") as opened:
            return os.pread(opened.fileno(), nbytes, start)  # verified: it has its name
        piece = FileRange(file, start, nbytes)
        if self._is_past(file) and piece not in self._pieces:
            raise CheckpointError(
                "was deleted, and this part of it was not read before",
                file=file,
                hint="convert it without --stream",
            )
        data = self._heads.get(file, b"")[start : start + nbytes]
        if len(data) != nbytes:
            data = self._requests.agreed(piece)
        self._pieces.record(piece, data)
        return data

    def expect(self, files: Iterable[str]) -> None:
        """Read the first bytes of ``files`` ahead: their headers will be read, one by one."""
        absent = [file for file in files if not (self._folder / file).exists()]
        heads = map_in_threads(self._requests.head, absent, MAX_REQUESTS, self._stop)
        self._heads = dict(zip(absent, heads, strict=True))

    def begin(self, shards: Sequence[str], pieces: Iterable[tuple[str, int, int]]) -> Sequence[str]:
        """Begin to fetch shards.

        Args:
            shards: Those that will be opened, in order. All others have been done with.
            pieces: What will be read of any shard meanwhile: file, first byte, bytes.

        Returns:
            The shards to open, in order: ``shards``, and after them those that have to be seen
            because a piece of them was used and never compared.
        """
        ranges = [FileRange(*piece) for piece in pieces]
        unknown = [piece for piece in ranges if piece not in self._pieces]
        map_in_threads(self._read_ahead, unknown, MAX_REQUESTS, self._stop)
        self._heads = {}
        used = {piece.file for piece in (*ranges, *self._pieces.equal_pieces)}
        unseen = used - self._pieces.compared_files - set(shards)
        self._order = (*shards, *sorted(unseen))
        self._take_up(self._order)
        self._pieces.sync()
        files = [checkpoint_file(self._manifest, name) for name in self._order]
        self._tick = ProgressSum(files, self._on_progress)
        for name in self._verified:
            self._tick(checkpoint_file(self._manifest, name), self.size(name))
        self._fetcher = threading.Thread(target=self._fetch_in_order, daemon=True)
        self._fetcher.start()
        return self._order

    def release(self, file: str) -> None:
        """Delete a file that is done with."""
        (self._folder / file).unlink(missing_ok=True)
        with self._changed:
            self._released.add(file)
            self._held.discard(file)
            self._verified.discard(file)
            self._changed.notify_all()

    def same(self, one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
        """Return whether two long pieces of one length are equal.

        Samples of them are compared now, the whole of them once their shards have come.
        """
        left, right = FileRange(*one), FileRange(*other)
        length = min(SAMPLE_BYTES, left.nbytes)
        gaps = min(SAMPLE_COUNT, -(-left.nbytes // SAMPLE_BYTES)) - 1
        for number in range(gaps + 1):
            at = (left.nbytes - length) * number // max(gaps, 1)
            sample = self.read(left.file, left.start + at, length)
            if sample != self.read(right.file, right.start + at, length):
                return False
        self._pieces.expect_equal(left, right)
        return True

    def __enter__(self) -> StreamSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        if self._fetcher:
            self._fetcher.join(JOIN_S)
        self._pieces.close()

    def _is_past(self, file: str) -> bool:
        """Return whether ``file`` has been done with, so that nothing new of it can be compared."""
        if self._order is None:
            return False
        return file not in self._order or file in self._released

    def _take_up(self, order: Sequence[str]) -> None:
        """Keep the shards of a run that was killed, as far as they are needed; delete the rest."""
        for path in self._folder.glob(_SHARDS):
            if path.name in order:
                self._pieces.verify(path)
                self._verified.add(path.name)
                self._held.add(path.name)
            elif path.name.endswith(DAMAGED) or not path.name.startswith(tuple(order)):
                path.unlink()

    def _read_ahead(self, piece: FileRange) -> None:
        self._pieces.record(piece, self.read(*piece))

    def _fetch_in_order(self) -> None:
        """Fetch the shards one after the other, as room allows: a thread's work."""
        for name in self._order or ():
            with self._changed:
                if name in self._released or name in self._verified:
                    continue
                while not self._may_fetch(name):
                    self._changed.wait()
                if self._stop.is_set():
                    return
                self._held.add(name)
            try:
                self._fetch(checkpoint_file(self._manifest, name))
            except BaseException as e:
                with self._changed:
                    self._errors[name] = e
                    self._changed.notify_all()
                return
            with self._changed:
                self._verified.add(name)
                self._changed.notify_all()

    def _may_fetch(self, name: str) -> bool:
        """Return whether there is room for a shard, or somebody waits for it, or all is over."""
        return self._stop.is_set() or name in self._held or len(self._held) < MAX_SHARDS

    def _fetch(self, file: RemoteFile) -> None:
        path = self._folder / file.name
        path.parent.mkdir(exist_ok=True)
        remark = fetch_file(
            self._remote,
            self._manifest,
            file,
            path,
            tick=self._tick,
            before_retry=lambda: self._wait_until_alone(file.name),
            stop=self._stop,
        )
        if remark:
            self._notify(remark)
        try:
            self._pieces.verify(path)
        except CheckpointError:
            path.unlink(missing_ok=True)
            raise

    def _wait_until_alone(self, name: str) -> None:
        """Wait until no other shard is on the disk: a damaged one and its second copy are two."""
        with self._changed:
            while not self._stop.is_set() and self._held - {name}:
                self._changed.wait()
