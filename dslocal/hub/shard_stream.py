"""A checkpoint that is never here as a whole: shards come when they are needed, verified, and go
when they are done with.

At most two of them are on the disk: the one in use and the next, which is fetched meanwhile. Small
pieces of a shard that is not here (its header, a scale) are read by range; what they were is noted
beside the output, and compared once the verified shard is here, in this run or a later one. It
satisfies ``dslocal.convert``'s Source without knowing it.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from dslocal.errors import CheckpointError, ConversionError

from . import http
from .fetch import DAMAGED, DownloadCallback, FileCallback, ProgressSum, fetch, ignore_progress
from .manifest import Manifest, RemoteFile
from .parallel import map_in_threads
from .repository import Repository
from .resume_state import LOCK, Notify, begun, has_resume_state, remove_links
from .used_ranges import ByteRange, UsedRanges

SUFFIX = ".stream"
AT_ONCE = 2  # shards on the disk
SAMPLES, SAMPLE = 16, 64 << 10
HEAD = 128 << 10  # bytes that a shard's header mostly fits into
AT_A_TIME = 8  # requests
ASKED_AT_MOST = 4  # times for a piece that has no hash

_PIECES = "pieces.jsonl"


@contextmanager
def stream_checkpoint(
    remote: Repository, out: Path, *, on_progress: DownloadCallback | None = None, notify: Notify
) -> Iterator[StreamSource]:
    """The checkpoint at ``remote`` as a source for a conversion into ``out``, in a folder beside it
    that goes when all went well.

    A run that goes on with an interrupted one stays with the commit that was begun. ``notify`` is told
    what the user should know, ``on_progress`` how far the download has come. Raises DownloadError,
    NotFoundError, ConversionError when another process is at it.
    """
    from filelock import FileLock, Timeout

    folder = out.with_name(out.name + SUFFIX)
    if folder.is_symlink():
        raise ConversionError(
            f"{folder}: is a link, and its target is not for writing in", hint=f"rm {folder}"
        )
    folder.mkdir(exist_ok=True)
    try:
        remove_links(folder)
        with FileLock(folder / LOCK, timeout=0):
            fresh, source = not has_resume_state(folder), None
            try:
                manifest, begin_id = begun(remote, folder, notify)
                with StreamSource(
                    remote, manifest, folder, begin_id, on_progress=on_progress, notify=notify
                ) as source:
                    yield source
            except BaseException as e:
                # of a damaged checkpoint the converter keeps nothing either, and of one that it
                # never began there is nothing to keep
                if isinstance(e, CheckpointError) or (fresh and not (source and source.begun)):
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder)
    except Timeout:
        raise ConversionError(f"{folder}: another process is writing there") from None


class StreamSource:
    """The files of ``manifest``, held in ``folder`` while they are needed."""

    def __init__(
        self,
        remote: Repository,
        manifest: Manifest,
        folder: Path,
        begin_id: str,
        *,
        on_progress: DownloadCallback | None,
        notify: Notify,
    ) -> None:
        self._remote, self._manifest, self._folder, self._on_progress, self._notify = (
            remote,
            manifest,
            folder,
            on_progress,
            notify,
        )
        self._begin_id = begin_id
        self._pieces = UsedRanges(folder / _PIECES)
        self._tick: FileCallback = ignore_progress
        self._heads: dict[str, bytes] = {}
        self._order: tuple[str, ...] | None = None
        self._gone: set[str] = set()
        self._held: set[str] = set()
        self._ready: set[str] = set()
        self._failed: dict[str, BaseException] = {}
        self._changed = threading.Condition()
        self._fetching: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def begun(self) -> bool:
        """Whether a conversion is at it."""
        return self._order is not None

    @property
    def name(self) -> str:
        return self._manifest.name

    @property
    def revision(self) -> str:
        return self._manifest.commit if self._manifest.git else ""

    def sha256(self, file: str) -> str:
        return self._manifest.file(file).sha256

    def identity(self, file: str) -> str:
        """With the beginning: the notes of an earlier one are gone, so that nothing made then can
        be vouched for.
        """
        return f"{self._manifest.file(file).hash} {self._begin_id}"

    def exists(self, file: str) -> bool:
        return file in self._manifest.files

    def size(self, file: str) -> int:
        return self._file(file).size

    def open(self, file: str) -> BinaryIO:
        """The verified file; waits until it has come. Shards come in the order that :meth:`begin`
        was given.
        """
        if file not in (self._order or ()):
            path = self._folder / file
            if not path.exists():
                self._fetch(self._file(file))
            return path.open("rb")
        with self._changed:
            self._held.add(file)
            self._changed.notify_all()
            while file not in self._ready and file not in self._failed:
                self._changed.wait(0.2)  # so that Ctrl-C is noticed
            if file in self._failed:
                raise self._failed[file]
        return (self._folder / file).open("rb")

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        """A small piece, from the file if it is here, else by range. Raises CheckpointError when it
        is not what it once was.
        """
        with (
            suppress(FileNotFoundError),
            (self._folder / file).open("rb") as opened,
        ):  # it has its name only when it is verified
            return os.pread(opened.fileno(), nbytes, start)
        piece = file, start, nbytes
        if (
            self._order is not None
            and (file not in self._order or file in self._gone)
            and piece not in self._pieces
        ):
            raise CheckpointError(
                "is gone, and this piece of it was never asked for",
                file=file,
                hint="convert it without --stream",
            )
        data = self._heads.get(file, b"")[start : start + nbytes]
        data = data if len(data) == nbytes else self._ranged(piece)
        self._pieces.settle(piece, data)
        return data

    def expect(self, files: Iterable[str]) -> None:
        """Reads the first bytes of ``files`` at once: their headers will be asked for, one by
        one.
        """
        absent = [file for file in files if not (self._folder / file).exists()]
        heads = map_in_threads(
            lambda name: self._ranged((name, 0, min(HEAD, self.size(name)))),
            absent,
            AT_A_TIME,
            self._stop,
        )
        self._heads = dict(zip(absent, heads, strict=True))

    def begin(self, shards: Sequence[str], pieces: Iterable[ByteRange]) -> Sequence[str]:
        """The shards to open, in order, which are fetched from now on; all others have been done
        with.

        Added are those that have to be seen because of a piece that was read of them, and were not
        seen yet.
        """
        unknown = [piece for piece in pieces if piece not in self._pieces]
        map_in_threads(
            lambda piece: self._pieces.settle(piece, self.read(*piece)),
            unknown,
            AT_A_TIME,
            self._stop,
        )
        self._heads = {}
        also = (
            {file for file, _, _ in (*pieces, *self._pieces.compared)}
            - self._pieces.seen
            - set(shards)
        )
        self._order = (*shards, *sorted(also))
        for path in self._folder.glob("*.safetensors*"):  # of a run that was killed
            if path.name in self._order:
                self._pieces.check(path)
                self._ready.add(path.name)
                self._held.add(path.name)
            elif path.name.endswith(DAMAGED) or not path.name.startswith(self._order):
                path.unlink()
        self._pieces.sync()
        self._tick = ProgressSum([self._file(name) for name in self._order], self._on_progress)
        for name in self._ready:
            self._tick(self._file(name), self.size(name))
        self._fetching = threading.Thread(target=self._fetch_in_order, daemon=True)
        self._fetching.start()
        return self._order

    def release(self, file: str) -> None:
        """``file`` is done with, for good, and goes."""
        (self._folder / file).unlink(missing_ok=True)
        with self._changed:
            self._gone.add(file)
            self._held.discard(file)
            self._ready.discard(file)
            self._changed.notify_all()

    def same(self, one: ByteRange, other: ByteRange) -> bool:
        """Whether two long pieces are equal: by samples now, and by the whole of them once their
        shards have come.
        """
        nbytes = one[2]
        length, gaps = min(SAMPLE, nbytes), min(SAMPLES, -(-nbytes // SAMPLE)) - 1
        for at in ((nbytes - length) * i // max(gaps, 1) for i in range(gaps + 1)):
            if self.read(one[0], one[1] + at, length) != self.read(other[0], other[1] + at, length):
                return False
        self._pieces.expect_equal(one, other)
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
        if self._fetching:
            self._fetching.join(2)
        self._pieces.close()

    def _file(self, name: str) -> RemoteFile:
        found = self._manifest.files.get(name)
        if found is None:
            raise CheckpointError(f"is missing from {self._manifest.origin}", file=name)
        return found

    def _ranged(self, piece: ByteRange) -> bytes:
        """The piece as two answers agree on, or one with what is known of it: there is no hash of
        it to check.
        """
        answers: list[bytes] = []
        while len(answers) < ASKED_AT_MOST:
            data = self._asked(piece)
            if data in answers or self._pieces.agrees(piece, data):
                return data
            answers.append(data)
        raise CheckpointError(
            f"the {piece[2]:,} bytes at {piece[1]:,} are others each time that they are asked for",
            file=piece[0],
        )

    def _asked(self, piece: ByteRange) -> bytes:
        name, start, nbytes = piece
        file = self._file(name)
        if start + nbytes > file.size:
            raise CheckpointError(
                f"has {file.size:,} bytes, too few for what its header says", file=name
            )
        what = f"{self._manifest.origin}: {name}"

        data = bytearray()

        def ask() -> None:
            for arrived in self._remote.part(
                self._manifest, file, start + len(data), start + nbytes
            ):
                data.extend(arrived)
            if len(data) < nbytes:
                raise http.truncated_error()

        http.with_retries(ask, what, gained=lambda: len(data), stop=self._stop)
        return bytes(data)

    def _fetch_in_order(self) -> None:
        for name in self._order or ():
            with self._changed:
                if name in self._gone or name in self._ready:
                    continue
                while (
                    not self._stop.is_set()
                    and name not in self._held
                    and len(self._held) >= AT_ONCE
                ):
                    self._changed.wait()
                if self._stop.is_set():
                    return
                self._held.add(name)
            try:
                self._fetch(self._file(name))
            except BaseException as e:
                with self._changed:
                    self._failed[name] = e
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready.add(name)
                self._changed.notify_all()

    def _fetch(self, file: RemoteFile) -> None:
        path = self._folder / file.name

        again = functools.partial(self._alone, file.name)
        remark = fetch(
            self._remote,
            self._manifest,
            file,
            path,
            tick=self._tick,
            before_again=again,
            stop=self._stop,
        )
        if remark:
            self._notify(remark)
        try:
            self._pieces.check(path)
        except CheckpointError:
            path.unlink(missing_ok=True)
            raise

    def _alone(self, name: str) -> None:
        """Waits until no other shard is on the disk: a damaged one and its second copy are two."""
        with self._changed:
            while not self._stop.is_set() and self._held - {name}:
                self._changed.wait()
