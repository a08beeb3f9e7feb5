"""Attach files to a question, in the template of DeepSeek-R1's README, "Official Prompts".

A file is read as text whatever it is encoded in (:mod:`.charset`), with lines that end in ``\\n``.
What is not text is refused, and named as what it is. A few bytes that are not text, such as a name
in Latin-1 within a diff, are read as replacement characters, with a note that counts them. Reading
never waits for a pipe that nobody writes to, and never reads a device.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dslocal.errors import NotFoundError, UsageError
from dslocal.files import drain_pipe, names_stdin, open_to_read, read_stdin

from . import charset

MAX_FILE = 8 << 20  # bytes; far above any context
DESCRIPTOR_FOLDERS = ("/dev/fd", "/proc/self/fd")
PIPE_NAME = "pipe.txt"
MAX_STRAY_SHARE = 0.05  # of bytes that are not text, where nothing else says that it is UTF-8

_KINDS = (  # what it is, where its mark is, the mark
    ("a PDF", 0, b"%PDF-"),
    ("a ZIP archive", 0, b"PK\3\4"),
    ("an old Microsoft Office document", 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("a PNG picture", 0, b"\x89PNG\r\n\x1a\n"),
    ("a JPEG picture", 0, b"\xff\xd8\xff"),
    ("a GIF picture", 0, b"GIF8"),
    ("a WebP picture", 8, b"WEBP"),
    ("a TIFF picture", 0, b"II*\0"),
    ("a TIFF picture", 0, b"MM\0*"),
    ("a video or a picture", 4, b"ftyp"),
    ("a sound", 8, b"WAVE"),
    ("a sound", 0, b"ID3"),
    ("a sound", 0, b"OggS"),
    ("a sound", 0, b"fLaC"),
    ("a gzip archive", 0, b"\x1f\x8b"),
    ("a bzip2 archive", 0, b"BZh"),
    ("an xz archive", 0, b"\xfd7zXZ\0"),
    ("a Zstandard archive", 0, b"\x28\xb5\x2f\xfd"),
    ("a 7-Zip archive", 0, b"7z\xbc\xaf\x27\x1c"),
    ("a tar archive", 257, b"ustar"),
    ("a program (ELF)", 0, b"\x7fELF"),
    ("a program (Mach-O)", 0, b"\xcf\xfa\xed\xfe"),
    ("a program (Windows)", 0, b"MZ"),
    ("compiled Java or a program (Mach-O)", 0, b"\xca\xfe\xba\xbe"),
    ("an SQLite database", 0, b"SQLite format 3\0"),
    ("a model (GGUF)", 0, b"GGUF"),
)
_ZIPPED = (
    (b"word/", "a Word document"),
    (b"xl/", "an Excel table"),
    (b"ppt/", "a PowerPoint presentation"),
)
_TO_TEXT = {
    "a PDF": "extract its text with pdftotext",
    "a Word document": "save it as text first",
    "an Excel table": "save it as CSV first",
}


class FileText(NamedTuple):
    """A file that was read.

    Attributes:
        name: What it is called.
        text: Its content, with lines that end in a line feed.
        note: What a user should know about it, in one line; empty for nothing.
    """

    name: str
    text: str
    note: str


def attach_files(files: Sequence[Path | FileText], question: str) -> str:
    """Return ``question`` with the content of ``files`` before it.

    A name is made one line, so that no name can end the template early. Content stays as it is,
    even where it spells ``[file content end]``: a changed file would be worse than a confused
    model, and special tokens cannot come from text.

    Raises:
        NotFoundError: If a file does not exist.
        UsageError: If a file cannot be read, or is not text.
    """
    read = [read_file(file) if isinstance(file, Path) else file for file in files]
    return "".join(map(_block, read)) + question


def read_file(path: Path) -> FileText:
    """Return the file at ``path``, or standard input for ``-`` and ``/dev/stdin``.

    Raises:
        NotFoundError: If it does not exist.
        UsageError: If it cannot be read, or is not text.
    """
    if names_stdin(path):
        return decode_file(_read(path), "stdin")
    found = decode_file(_read(path), str(path))._replace(name=_shown_name(path))
    if not found.text.strip():
        found = found._replace(note=f"{path}: the file is empty")
    return found


def _shown_name(path: Path) -> str:
    """Return the name that the model is shown; a shell's ``<(command)`` has only a number."""
    return PIPE_NAME if str(path.parent) in DESCRIPTOR_FOLDERS else path.name


def read_text(path: Path) -> str:
    """Return the text of the file at ``path``, of which every byte must be text.

    Raises:
        NotFoundError: If it does not exist.
        UsageError: If it cannot be read, or is not text.
    """
    return decode_text(_read(path), str(path))


def decode_file(data: bytes, name: str) -> FileText:
    """Return ``data`` as text; a few bytes that are not text become replacement characters.

    Args:
        data: The content of a file.
        name: What it is called in messages.

    Raises:
        UsageError: If it is too much, not text, or in an uncertain encoding.
    """
    try:
        return FileText(name, decode_text(data, name), "")
    except _StrayBytesError as e:
        count = charset.count_strays(data)
        if not e.is_utf8 and count > MAX_STRAY_SHARE * len(data):
            raise
        bytes_are = "byte that is not UTF-8 is" if count == 1 else "bytes that are not UTF-8 are"
        note = f"{name}: {count:,} {bytes_are} read as \N{REPLACEMENT CHARACTER} ({e.hint})"
        return FileText(name, charset.with_replacements(data).replace("\r\n", "\n"), note)


def decode_text(data: bytes, name: str) -> str:
    """Return ``data`` as text, with lines that end in a line feed.

    Args:
        data: The content of a file.
        name: What it is called in messages.

    Raises:
        UsageError: If it is too much, not text, or in an uncertain encoding.
    """
    if len(data) > MAX_FILE:
        raise UsageError(f"{name}: more than the {MAX_FILE:,} bytes that can be read")
    if data.startswith(b"%PDF-") or b"\0" in data:  # other marks may begin a text
        _refuse_by_mark(data, name)
    text = charset.decode_unicode(data)
    if text is None:
        _refuse_binary(data, name)
        text, guess = charset.guess(data)
        if text is None:
            raise _unsure(name, guess)
    return text.replace("\r\n", "\n")


class _StrayBytesError(UsageError):
    """Bytes that are not text. ``is_utf8`` says whether the rest is certainly UTF-8."""

    def __init__(self, message: str, *, hint: str, is_utf8: bool) -> None:
        super().__init__(message, hint=hint)
        self.is_utf8 = is_utf8


def _block(file: FileText) -> str:
    name = _one_line(file.name)
    content = file.text.removesuffix("\n")
    return f"[file name]: {name}\n[file content begin]\n{content}\n[file content end]\n"


def _one_line(name: str) -> str:
    """Return ``name`` with ? for what breaks a line, controls a terminal or cannot be encoded."""
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in name)


def _refuse_by_mark(data: bytes, name: str) -> None:
    kind = next((kind for kind, at, mark in _KINDS if data.startswith(mark, at)), "")
    if kind == "a ZIP archive":
        kind = next((document for folder, document in _ZIPPED if folder in data), kind)
    if kind:
        raise UsageError(
            f"{name}: is {kind}, not text", hint=_TO_TEXT.get(kind, "a text file is needed")
        )


def _refuse_binary(data: bytes, name: str) -> None:
    _refuse_by_mark(data, name)
    if b"\0" in data or charset.has_controls(data):
        raise UsageError(f"{name}: is binary, not text", hint="a text file is needed")
    damaged = charset.damaged_utf8(data)
    if damaged is not None:
        raise _StrayBytesError(
            f"{name}: is damaged UTF-8: byte {damaged:,} is not valid",
            hint="remove such bytes with iconv -c -f UTF-8 -t UTF-8",
            is_utf8=True,
        )


def _unsure(name: str, guess: str) -> UsageError:
    if not guess:
        return UsageError(
            f"{name}: is not text in any known encoding", hint="convert it to UTF-8 first"
        )
    codec = guess.upper().replace("_", "-")
    return _StrayBytesError(
        f"{name}: is not UTF-8, and may be {codec} or something else",
        hint=f"if it is {codec}: iconv -f {codec} -t UTF-8 FILE > NEW",
        is_utf8=False,
    )


def _read(path: Path) -> bytes:
    try:
        if names_stdin(path):
            return read_stdin(max_bytes=MAX_FILE)
        opened = open_to_read(path)
        try:
            return _content(opened, path)
        finally:
            os.close(opened)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        name = "stdin" if names_stdin(path) else path
        raise UsageError(f"{name}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _content(opened: int, path: Path) -> bytes:
    """Return what is in the file, or as much of it as shows that it is too much.

    The size of a file in /proc is 0, which says nothing.
    """
    status = os.fstat(opened)
    if stat.S_ISFIFO(status.st_mode):
        data = drain_pipe(opened, MAX_FILE)
        if data is None:
            raise UsageError(f"{path}: is a pipe that nobody writes to")
        return data
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: is a directory", hint="name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: is a device, not a file")
    if status.st_size > MAX_FILE:
        raise UsageError(f"{path}: has {status.st_size:,} bytes, and {MAX_FILE:,} can be read")
    with os.fdopen(opened, "rb", closefd=False) as file:
        return file.read(MAX_FILE + 1)
