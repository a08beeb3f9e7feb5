"""Files, whatever is in them: durable writes, fingerprints, bounded JSON, and sizes as text.

Does not know models.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import re
import select
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from dslocal.errors import UsageError

__all__ = [
    "binary_size",
    "decimal_size",
    "drain_pipe",
    "expanded",
    "is_file",
    "is_folder",
    "json_integer",
    "parse_json_object",
    "parse_strict_json",
    "read_json_object",
    "read_limited",
    "sampled_fingerprint",
    "stat_fingerprint",
    "stdin_is_terminal",
    "sync_folder",
    "utf8_text",
    "whole_number",
    "write_atomic",
]

SAMPLE_COUNT = 16
SAMPLE_BYTES = 64 << 10
STDIN_NAMES = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_INHERITED = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
MAX_NUMBER_DIGITS = 15  # of a number that people write
MAX_JSON_DIGITS = 4300  # Python refuses to read more
PIPE_PATIENCE_S = 2.0  # that a pipe may take until somebody opens it for writing
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def is_file(path: Path) -> bool:
    """Return whether a file is at ``path`` and may be looked at; False whatever is in the way."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether a folder is at ``path`` and may be looked at; False whatever is in the way."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def expanded(text: str, source: str) -> Path:
    """Return a path with its ``~`` and ``~user`` replaced.

    Args:
        text: The path.
        source: Where it is set, such as the name of a variable.

    Raises:
        UsageError: No user has that name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{source} is {text!r:.200}, and no home of that user is known",
            hint=f"set {source} to a folder's full path",
        ) from None


def sync_folder(folder: Path) -> None:
    """Make new names in ``folder`` durable, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomic(
    path: Path,
    content: str | bytes,
    *,
    beside: Path | None = None,
    is_private: bool = False,
    is_durable: bool = True,
) -> None:
    """Write a file as a whole or not at all, and make it durable.

    Args:
        path: The file; one that exists is replaced.
        content: Text is written as UTF-8.
        beside: Where it is written first, in the same folder: ``NAME.new`` unless given. It must
            be this process's alone, by a lock or by its name.
        is_private: Whether nobody but this user may read it, at any time.
        is_durable: Whether it must be there after a power failure. That takes a few milliseconds.

    Raises:
        OSError: It cannot be written. ``path`` is as it was, and ``beside`` is gone; the error
            names ``path``.
    """
    beside = beside or path.with_name(path.name + ".new")
    data = content.encode() if isinstance(content, str) else content
    try:
        with _opened_new(beside, 0o600) if is_private else beside.open("wb") as file:
            file.write(data)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError as e:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(path)) from e  # not the file that nobody named
    if is_durable:
        sync_folder(path.parent)


def _opened_new(path: Path, mode: int) -> BinaryIO:
    """Return a new file, open for writing, whose mode has been ``mode`` from the first moment."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb")


def sampled_fingerprint(path: Path) -> str:
    """Return what tells a large file from another: a hash of its size and of 1 MiB of samples.

    The samples lie at even distances from the first byte to the last, so that a change of a few
    bytes between them is not seen. A GGUF file's metadata is compared as a whole by
    :func:`dslocal.gguf.fingerprint`.

    Returns:
        A SHA-256, 64 hexadecimal digits.
    """
    size = path.stat().st_size
    seen = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(SAMPLE_COUNT):
            file.seek(max(0, size - SAMPLE_BYTES) * number // (SAMPLE_COUNT - 1))
            seen.update(file.read(SAMPLE_BYTES))
    return seen.hexdigest()


def stat_fingerprint(files: Iterable[Path], salt: str = "") -> str:
    """Return a hash of the names, sizes and times of ``files``; no content is read.

    Args:
        files: The files, in the order that counts.
        salt: What else the result depends on.

    Returns:
        A SHA-256, 64 hexadecimal digits.
    """
    seen = hashlib.sha256(salt.encode())
    for file in files:
        status = file.stat()
        seen.update(f"\0{file.name}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return seen.hexdigest()


def read_limited(path: Path, *, max_bytes: int) -> bytes:
    """Read a file that a user named, or as much of it as shows that it has more than ``max_bytes``.

    A pipe is read to its end, as in ``<(command)``; one that nobody writes to is not waited for.

    Raises:
        OSError: It cannot be read, or is a device, a socket or a folder.
    """
    if names_stdin(path):
        return read_stdin(max_bytes=max_bytes)
    opened = open_to_read(path)
    try:
        mode = os.fstat(opened).st_mode
        if stat.S_ISFIFO(mode):
            data = drain_pipe(opened, max_bytes)
            if data is None:
                raise OSError(errno.EINVAL, "it is a pipe that nobody writes to", str(path))
            return data
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a device, not a file", str(path))
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    finally:
        os.close(opened)


def names_stdin(path: Path) -> bool:
    """Return whether a path that a user named is standard input: ``-``, ``/dev/stdin``."""
    return str(path) in STDIN_NAMES


def stdin_is_terminal() -> bool:
    """Return whether somebody can answer on standard input; False where it is closed."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def read_stdin(*, max_bytes: int) -> bytes:
    """Read standard input to its end, or as much of it as shows that it has more.

    Raises:
        OSError: It is closed, or cannot be read.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise OSError(errno.EBADF, "it is closed", "stdin")
    return sys.stdin.buffer.read(max_bytes + 1)


def open_to_read(path: Path) -> int:
    """Open a file that a user named, without waiting, and return its descriptor.

    A pipe of this process, which is what ``<(command)`` gives, is not opened once more: its writer
    may have left already.

    Raises:
        OSError, ValueError: It cannot be opened.
    """
    if inherited := _INHERITED.fullmatch(str(path)):
        own = int(inherited[1])
        if stat.S_ISFIFO(os.fstat(own).st_mode):
            return os.dup(own)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def drain_pipe(pipe: int, max_bytes: int) -> bytes | None:
    """Return all that is written to a pipe, however slowly, until it is over ``max_bytes``.

    Args:
        pipe: A descriptor of :func:`open_to_read`.
        max_bytes: More is not waited for.

    Returns:
        None where nobody opens it for writing within PIPE_PATIENCE_S.
    """
    data = bytearray()
    has_writer = os.get_blocking(pipe)  # this process got it open
    deadline = time.monotonic() + PIPE_PATIENCE_S
    while len(data) <= max_bytes:
        try:
            piece = os.read(pipe, 1 << 16)
        except BlockingIOError:  # open for writing, and nothing there yet
            has_writer = True
            select.select([pipe], [], [])
            continue
        data += piece
        if not piece and (data or has_writer):
            break
        if not piece:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
    return bytes(data)


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, Any]:
    """Read a small file that is one JSON object.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is larger than ``max_bytes``, or not a JSON object.
    """
    data = read_limited(path, max_bytes=max_bytes)
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return parse_json_object(data)


def utf8_text(data: bytes) -> str:
    """Return the text of a file that people edit: settings, JSON, YAML, templates.

    A byte order mark of UTF-8, which Windows editors put first, is left out.

    Raises:
        UnicodeError: It is not UTF-8. The message says so in words of its own, not in Python's.
        ValueError: It is UTF-16 or UTF-32, which such editors write too.
    """
    wide = next((name for mark, name in _WIDE_MARKS if data.startswith(mark)), "")
    if not wide and b"\0" in data[:4]:
        wide = "UTF-16"  # without a mark: every other byte of ASCII text is 0
    if wide:
        raise ValueError(f"it is {wide} text: save it as UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as e:
        line = 1 + e.object.count(b"\n", 0, e.start)
        raise UnicodeError(f"line {line:,} is not UTF-8 text: save it as UTF-8") from None


def json_integer(digits: str) -> int:
    """Return an integer of JSON: the ``parse_int`` of json.loads.

    Raises:
        ValueError: It has more digits than Python reads, which would name a setting of Python's.
    """
    if len(digits) > MAX_JSON_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def parse_json_object(data: str | bytes) -> dict[str, Any]:
    """Parse text that is one JSON object, UTF-8 where it is bytes.

    Raises:
        ValueError: It is not, or is nested too deep.
    """
    try:
        text = utf8_text(data) if isinstance(data, bytes) else data
        content = json.loads(text, parse_int=json_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def parse_strict_json(text: str) -> Any:
    """Parse JSON that has neither NaN nor Infinity, nor an object with the same key twice.

    Of two values under one key, :func:`json.loads` silently takes the last.

    Raises:
        ValueError: It is not such JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(
        text,
        parse_int=json_integer,
        parse_constant=refuse_json_constant,
        object_pairs_hook=_object_of_single_keys,
    )


def _object_of_single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError for a key that occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        twice = next(key for key, count in keys.items() if count > 1)
        raise ValueError(f"the key {json.dumps(twice)[:60]} occurs twice in one object")
    return found


def refuse_json_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON does not have: the ``parse_constant`` of json.loads.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{name} is not a number")


def whole_number(text: str) -> int | None:
    """Return the number that a text of decimal digits is; None for any other text, or a longer one.

    Python itself refuses to read thousands of digits.
    """
    is_number = text.isascii() and text.isdecimal()
    return int(text) if is_number and len(text) <= MAX_NUMBER_DIGITS else None


def decimal_size(nbytes: float, mb_decimals: int = 1) -> str:
    """Format the size of a file or a download, as vendors do: ``4.7 GB``, ``27.2 MB``."""
    return f"{nbytes / 1e9:,.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:,.{mb_decimals}f} MB"


def binary_size(nbytes: float, gib_from: int = 2**30) -> str:
    """Format an amount of memory: ``1.5 GiB``, and in MiB what is below ``gib_from`` bytes."""
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= gib_from else f"{nbytes / 2**20:,.0f} MiB"
