"""Check that the result of long work can be written, before the work begins."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from dslocal.errors import NotFoundError, UsageError


def require_writable(path: Path, *, is_replaced: bool = False) -> None:
    """Check that a file can be written. Nothing of it is made or changed.

    Args:
        path: The file.
        is_replaced: Whether a file that is there is replaced as a whole, so that its folder
            decides, and not its own permissions.

    Raises:
        NotFoundError: Its folder does not exist.
        UsageError: It is a folder.
        OSError: Its folder, or the file that is there, cannot be written to.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder")
    if path.exists() and not is_replaced:
        if not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    if not path.parent.is_dir():
        raise NotFoundError(f"{path.parent}: no such folder")
    require_writable_folder(path.parent)


def require_writable_folder(folder: Path) -> None:
    """Check that a file can be made in a folder, by making one without a name.

    Permissions alone do not tell: the root user has all, and a disk can be mounted read-only.

    Raises:
        OSError: None can be made; the error names the folder.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(folder)) from e
