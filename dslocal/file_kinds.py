"""Recognize a file that somebody took for a model, and say what it is.

A git-lfs pointer, a web page saved under a model's name, a half finished download, pickled weights,
an older format: each has a remedy of its own. Files are recognized by their first bytes, then by
their names; nothing is parsed. Does not know how models are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .files import decimal_size, is_file, utf8_text

__all__ = ["HEAD_BYTES", "PICKLED", "FileKind", "content_kind", "name_kind", "unfinished_download"]

HEAD_BYTES = 1024  # of a file that are looked at
MAX_QUOTED = 60  # characters of a text that a message repeats
MAX_SAFETENSORS_HEADER = 100_000_000
MAX_LISTED_PIECES = 3  # that a message names one by one

AGAIN = "download it again"
PICKLED = ".bin, .pt, .pth, .ckpt, .pkl"  # the names of pickled weights
_NEVER_OPENED = (
    "pickles can run code, so they are never opened: use a revision or repository that has "
    "safetensors, or save the model as safetensors with transformers on a machine that may run "
    "that code"
)
_LFS = b"version https://git-lfs.github.com/spec/v1"
_LFS_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_TORCH_ZIP = re.compile(rb"^[^/\0]{0,100}/(?:data\.pkl|\.format_version|byteorder|version)")
# protobuf: the version of the format, then the program's name; source: onnx.proto, ModelProto
_IMATRIX = re.compile(rb"[\x01-\x7f]\0\0\0[\w.]{3,120}\.weight")
_ONNX = re.compile(rb"\x08[\x03-\x20]\x12[\x01-\x40][\x20-\x7e]{2}")
# what programs that download call a file until it is whole
_DOWNLOADS = {
    ".crdownload": "Chrome",
    ".opdownload": "Opera",
    ".download": "Safari",
    ".incomplete": "Hugging Face's tools",
    ".aria2": "aria2, which stores its progress in it",
    ".aria2__temp": "aria2",
    ".partial": "a browser, Ollama or dslocal",
    "-partial": "Ollama",
    ".filepart": "WinSCP",
    ".downloading": "a download manager",
    ".tmp": "some program",
    ".!qb": "qBittorrent",
    ".!ut": "µTorrent",
    ".xltd": "Thunder",
    ".part": "Firefox, curl or dslocal convert",
}
_NUMBERED_PIECE = re.compile(r"(?P<whole>.+)\.part(?P<number>\d{1,3})of(?P<count>\d{1,3})", re.I)
_PIECE = re.compile(
    r"(?P<whole>.+\.(?:gguf|safetensors|bin))"
    r"(?:(?P<mark>[.-](?:split|part)[-._]?)(?:[a-z]{1,2}|\d{1,3})|\.\d{2,3}|\.a[a-z])",
    re.I,
)


class FileKind(NamedTuple):
    """What a file is, in words that follow "is", and what to do about it."""

    what: str
    hint: str = ""


def content_kind(head: bytes, size: int) -> FileKind | None:
    """Return what a file's first bytes say that it is; None where they say nothing.

    Args:
        head: The first :data:`HEAD_BYTES` of the file, or all of a shorter one.
        size: The file's length in bytes.
    """
    if not head:
        return FileKind("empty, 0 bytes", AGAIN)
    if head.startswith(_LFS):
        return _lfs_pointer(head)
    if head.startswith(b"PK\3\4"):
        return _zip_kind(head)
    for magic, at, kind in _MAGICS:
        if head.startswith(magic, at):
            return kind
    if _IMATRIX.match(head, 4):
        return FileKind(
            "an importance matrix of llama.cpp's old format", "dslocal convert --imatrix takes it"
        )
    if _ONNX.match(head):
        return FileKind("an ONNX model", _OLD_HINT)
    if head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5:
        return FileKind("a pickle, such as PyTorch's older files", _NEVER_OPENED)
    length = int.from_bytes(head[:8], "little")
    if len(head) > 8 and head[8:9] == b"{" and 0 < length <= min(MAX_SAFETENSORS_HEADER, size - 8):
        return FileKind(
            "a safetensors file", "name the checkpoint's folder, which dslocal converts to GGUF"
        )
    if not head.strip(b"\0"):
        return FileKind(
            "zeros at its beginning: a download that did not finish, or a damaged disk", AGAIN
        )
    return _text_kind(head)


def name_kind(name: str) -> FileKind | None:
    """Return what a file's name says that it is; None for a name that says nothing."""
    numbered = _NUMBERED_PIECE.fullmatch(name)
    if numbered:
        return _numbered_piece(numbered["whole"], int(numbered["number"]), int(numbered["count"]))
    piece = _PIECE.fullmatch(name)
    if piece:
        whole, mark = piece["whole"], piece["mark"] or "."
        return FileKind(
            "one piece of a file that was cut by size",
            f"join the pieces in order: cat {whole}{mark}* > {whole}",
        )
    for suffix, program in _DOWNLOADS.items():
        if name.lower().endswith(suffix):
            return FileKind(
                f"an unfinished file of {program}",
                "let that program finish it, or download the file again",
            )
    return None


def unfinished_download(path: Path) -> FileKind | None:
    """Return what a note of aria2 beside a file says: its length is right before its content is."""
    if not is_file(path.with_name(path.name + ".aria2")):
        return None
    return FileKind(
        "an unfinished download of aria2", f"aria2c -c downloads the rest of {path.name}"
    )


def _lfs_pointer(head: bytes) -> FileKind:
    size = _LFS_SIZE.search(head)
    what = f" to {decimal_size(int(size[1]))}" if size else ""
    return FileKind(
        f"a git-lfs pointer{what}: the file itself was not downloaded",
        "run git lfs pull in its folder to download it",
    )


def _zip_kind(head: bytes) -> FileKind:
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if _TORCH_ZIP.match(first):
        return FileKind("pickled PyTorch weights", _NEVER_OPENED)
    if first.endswith(b".npy"):
        return FileKind(
            "a NumPy archive (.npz), as older versions of MLX write", "use the original checkpoint"
        )
    return FileKind(
        "a ZIP archive", "unpack it first; if it contains .pkl files, it is pickled PyTorch weights"
    )


def _numbered_piece(whole: str, number: int, count: int) -> FileKind:
    if count <= MAX_LISTED_PIECES:
        pieces = " ".join(f"{whole}.part{n}of{count}" for n in range(1, count + 1))
    else:
        pieces = f"{whole}.part{{1..{count}}}of{count}"
    return FileKind(
        f"piece {number} of {count} of a file that was cut by size",
        f"join the pieces: cat {pieces} > {whole}",
    )


def _text_kind(head: bytes) -> FileKind | None:
    """Return what a text is: a page, a message of a server, or any other; None if not a text."""
    try:
        text = utf8_text(_whole_characters(head)).strip()
    except ValueError:
        return None
    if any(not character.isprintable() and not character.isspace() for character in text):
        return None
    start = text[:200].lower()
    if start.startswith(("<!doctype html", "<html")):
        return FileKind(
            "a web page (HTML), such as the hub's page about the file or a request to log in",
            "download the file itself: its address has /resolve/, not /blob/; "
            "a gated model needs a token",
        )
    if start.startswith("<?xml"):
        return FileKind("an XML text, such as a server's error message", AGAIN)
    if not text:
        return FileKind("text without any content", AGAIN)
    what = "JSON text" if text.startswith(("{", "[")) else "plain text"
    quoted = " ".join(text.split())[:MAX_QUOTED]
    return FileKind(f"{what} that begins {quoted!r}", "look into the file, or download it again")


def _whole_characters(head: bytes) -> bytes:
    """Return ``head`` without the beginning of a character that its end has cut."""
    for cut in range(1, min(4, len(head)) + 1):
        if head[-cut] >= 0xC0:
            return head[:-cut]
        if head[-cut] < 0x80:
            break
    return head


_OLD_GGML = "a GGML file, of the formats before GGUF (August 2023)"
_OLD_HINT = "download a GGUF file of the model, or convert its checkpoint"
_UNPACK = "unpack it first"
# magic bytes, where they stand, and what they mean
_MAGICS: tuple[tuple[bytes, int, FileKind], ...] = (
    (b"GGUF", 0, FileKind("a GGUF file", "a GGUF file is used as it is: dslocal ask -m FILE")),
    (b"lmgg", 0, FileKind(_OLD_GGML, _OLD_HINT)),
    (b"fmgg", 0, FileKind(_OLD_GGML, _OLD_HINT)),
    (b"tjgg", 0, FileKind(_OLD_GGML, _OLD_HINT)),
    (b"algg", 0, FileKind("a LoRA adapter of GGML's old format", _OLD_HINT)),
    (b"FUGG", 0, FileKind("a GGUF file in the wrong byte order", _OLD_HINT)),
    (b"\x1f\x8b", 0, FileKind("compressed by gzip", _UNPACK)),
    (b"BZh", 0, FileKind("compressed by bzip2", _UNPACK)),
    (b"\xfd7zXZ\0", 0, FileKind("compressed by xz", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", 0, FileKind("compressed by zstd", _UNPACK)),
    (b"\x04\x22\x4d\x18", 0, FileKind("compressed by lz4", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", 0, FileKind("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", 0, FileKind("a RAR archive", _UNPACK)),
    (b"PK\5\6", 0, FileKind("an empty ZIP archive", AGAIN)),
    (b"ustar", 257, FileKind("a tar archive", _UNPACK)),
    (b"\x89HDF\r\n\x1a\n", 0, FileKind("an HDF5 file of Keras or TensorFlow", _OLD_HINT)),
    (b"\x93NUMPY", 0, FileKind("a NumPy array (.npy)", _OLD_HINT)),
    (b"TFL3", 4, FileKind("a TensorFlow Lite model", _OLD_HINT)),
    (b"MZ", 0, FileKind("a program, such as a llamafile", "take the GGUF file by itself")),
    (b"\x7fELF", 0, FileKind("a program, such as a llamafile", "take the GGUF file by itself")),
    (b"\xcf\xfa\xed\xfe", 0, FileKind("a program of macOS", "take the GGUF file by itself")),
    (b"\0\x05\x16\x07", 0, FileKind("a note of macOS beside a file", "name the file without ._")),
    (
        b"bplist00",
        0,
        FileKind("a placeholder of iCloud", "open it in the Finder to download the file"),
    ),
    (b"L\0\0\0\x01\x14\x02\0", 0, FileKind("a shortcut of Windows", "name the file it leads to")),
    (b"d8:announce", 0, FileKind("a torrent file", "fetch what it describes")),
    (b"d10:created by", 0, FileKind("a torrent file", "fetch what it describes")),
    (b"[InternetShortcut]", 0, FileKind("a link to a web page", "fetch the file itself")),
    (b"/annex/objects/", 0, FileKind("a git-annex pointer", "git annex get downloads the file")),
    (b"# xet version", 0, FileKind("a pointer of Xet", "git xet checkout downloads the file")),
    (b"%PDF-", 0, FileKind("a PDF document", AGAIN)),
    (b"\x89PNG", 0, FileKind("a picture", AGAIN)),
    (b"\xff\xd8\xff", 0, FileKind("a picture", AGAIN)),
    (b"SQLite format 3\0", 0, FileKind("an SQLite database", AGAIN)),
)
