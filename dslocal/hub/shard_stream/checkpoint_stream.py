"""The folder of a stream beside the output: locked, continued, and deleted at the end."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dslocal.errors import CheckpointError, ConversionError
from dslocal.hub.fetch import DownloadCallback, Notify
from dslocal.hub.repository import Repository
from dslocal.hub.resume_state import LOCK, has_resume_state, remove_links, resume_or_start

from .stream_source import StreamSource

SUFFIX = ".stream"


@contextmanager
def stream_checkpoint(
    remote: Repository,
    out: Path,
    *,
    on_progress: DownloadCallback | None = None,
    notify: Notify,
) -> Iterator[StreamSource]:
    """Yield the checkpoint at ``remote`` as a source for a conversion into ``out``.

    Its files are in a folder beside ``out``, which is deleted when all went well. A run that
    continues an interrupted one stays with that one's commit.

    Args:
        remote: Where the checkpoint is published.
        out: The file that the conversion writes.
        on_progress: Receives how far the download has come.
        notify: Receives what the user should know.

    Raises:
        DownloadError: It cannot be fetched.
        NotFoundError: It is not there.
        ConversionError: Another process streams into this folder, or it is a link.
    """
    from filelock import FileLock, Timeout

    folder = out.with_name(out.name + SUFFIX)
    if folder.is_symlink():
        raise ConversionError(
            f"{folder}: is a link, and dslocal does not write to its target",
            hint=f"rm {shlex.quote(str(folder))}",
        )
    folder.mkdir(exist_ok=True)
    try:
        remove_links(folder)
        with FileLock(folder / LOCK, timeout=0):
            is_new = not has_resume_state(folder)
            source = None
            try:
                state = resume_or_start(remote, folder, notify)
                source = StreamSource(remote, state, folder, on_progress=on_progress, notify=notify)
                with source:
                    yield source
            except BaseException as e:
                has_started = source is not None and source.has_started
                # the converter keeps nothing of a damaged checkpoint either
                if isinstance(e, CheckpointError) or (is_new and not has_started):
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder)
    except Timeout:
        raise ConversionError(f"{folder}: another process is writing there") from None
