"""The files that one GGUF model consists of: one, or several that llama.cpp ties together by their
names and headers.
"""

from __future__ import annotations

import re
from pathlib import Path

from dslocal.errors import GgufError, NotFoundError
from dslocal.files import is_file

from .header import GgufHeader, join_headers, read_header

MAX_PARTS = 1024
_PART = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII | re.DOTALL
)


def parts_of(path: Path) -> tuple[tuple[Path, ...], GgufHeader]:
    """All files of the model that ``path`` is, or is a part of, the first one first, and a header
    with the tensors of all.

    Raises NotFoundError for a part that is not there, GgufError for files that are damaged or do
    not belong together.
    """
    if not is_file(path):
        raise NotFoundError(f"{path}: no such file")
    header = read_header(path)
    count = header.integer("split.count", 1)
    if count <= 1:
        return (path,), header
    match = _PART.fullmatch(path.name)
    if match is None or int(match["count"]) != count or count > MAX_PARTS:
        raise GgufError(
            f"{path.name}: is one of {count:,} parts, and its name does not say which",
            hint="as NAME-00001-of-00003.gguf",
        )
    files = tuple(
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    )
    headers = [_part(file, number, count) for number, file in enumerate(files)]
    tensors = tuple(tensor for part in headers for tensor in part.tensors)
    if len(tensors) != headers[0].integer("split.tensors.count", len(tensors)):
        raise GgufError(
            f"{files[0].name}: its {count:,} parts do not hold the tensors that it promises",
            hint="fetch them again",
        )
    return files, join_headers(headers)


def split_stem(name: str) -> tuple[str, int]:
    """A GGUF file's name without what numbers the part, and its number from 1; 0 for a file that is
    no part.
    """
    match = _PART.fullmatch(name)
    return (match["stem"], int(match["number"])) if match else (name.removesuffix(".gguf"), 0)


def _part(file: Path, number: int, count: int) -> GgufHeader:
    if not is_file(file):
        raise NotFoundError(
            f"{file}: is missing: part {number + 1} of {count}",
            hint="all parts must be in one folder",
        )
    header = read_header(file)
    if (header.integer("split.no", -1), header.integer("split.count")) != (number, count):
        raise GgufError(f"{file.name}: is not part {number + 1} of {count}, by its own header")
    return header
