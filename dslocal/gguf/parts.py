"""The files of one GGUF model: one, or several that llama.cpp ties together.

A split model's files are named ``NAME-00001-of-00003.gguf``, and their headers say which part of
how many each is. Source: llama.cpp, ``llama_split_path`` in src/llama.cpp. Does not know where the
files are from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dslocal.errors import GgufError, NotFoundError
from dslocal.files import is_file

from .header import GgufHeader, join_headers, read_header

MAX_PARTS = 1024
SUFFIX = ".gguf"
_PART_NAME = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII | re.DOTALL
)


@dataclass(frozen=True)
class PartName:
    """The name of one file of a split model. ``number`` counts from 1."""

    stem: str
    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.stem}-{self.number:05}-of-{self.count:05}{SUFFIX}"

    def all_parts(self) -> list[str]:
        """Return the file names of all parts, in order."""
        return [str(PartName(self.stem, number, self.count)) for number in range(1, self.count + 1)]


def parse_part_name(name: str) -> PartName | None:
    """Return what a file name says of its part, or None for a file that is not split."""
    match = _PART_NAME.fullmatch(name)
    if match is None:
        return None
    return PartName(match["stem"], int(match["number"]), int(match["count"]))


def is_first_part(name: str) -> bool:
    """Return whether a file of that name is the one to open: a whole model, or the first part."""
    part = parse_part_name(name)
    return part is None or part.number == 1


def model_stem(name: str) -> str:
    """Return a GGUF file's name without ``.gguf`` and without what numbers the part."""
    part = parse_part_name(name)
    return part.stem if part else name.removesuffix(SUFFIX)


def read_parts(path: Path) -> tuple[tuple[Path, ...], GgufHeader]:
    """Read the header of a model that may be split over several files.

    Args:
        path: The model's file, or any of its parts.

    Returns:
        All files of the model in order, and one header with the tensors of all.

    Raises:
        NotFoundError: A file is missing.
        GgufError: A file is damaged, the files do not belong together, or they are not a model.
    """
    if not is_file(path):
        raise NotFoundError(f"{path}: no such file")
    header = read_header(path)
    _require_model(header, path.name)
    count = header.integer("split.count", 1)
    if count <= 1:
        return (path,), header
    part = parse_part_name(path.name)
    if part is None or part.count != count or count > MAX_PARTS:
        raise GgufError(
            f"{path.name}: is one of {count:,} parts, and its name does not say which",
            hint="such as NAME-00001-of-00003.gguf",
        )
    files = tuple(path.with_name(name) for name in part.all_parts())
    headers = [_read_part(file, number, count) for number, file in enumerate(files)]
    joined = join_headers(headers)
    if len(joined.tensors) != joined.integer("split.tensors.count", len(joined.tensors)):
        raise GgufError(
            f"{files[0].name}: its {count:,} parts lack tensors that it lists",
            hint="download them again",
        )
    return files, joined


def first_part(path: Path) -> Path:
    """Return the file to open for a model, whichever of its parts ``path`` is.

    A file that only has such a name, and the last part where the first is missing, stay as they
    are: :func:`read_parts` says what is wrong.
    """
    part = parse_part_name(path.name)
    if part is None or part.number == 1:
        return path
    first = path.with_name(part.all_parts()[0])
    return first if is_file(first) else path


def _require_model(header: GgufHeader, name: str) -> None:
    """Raise GgufError for a GGUF file that is something else than a model's weights.

    Source of the types: gguf-py, ``GGUFType``; llama.cpp, tools/mtmd, cvector-generator, imatrix.
    """
    kind = header.text("general.type")
    arch = header.architecture
    if kind == "adapter" or "adapter.type" in header.metadata:
        base = header.text("general.base_model.0.name") or "its base model"
        raise GgufError(
            f"{name}: is a LoRA adapter, not a model by itself",
            hint=f"merge it into {base} first, as llama.cpp's llama-export-lora does",
        )
    if kind == "imatrix" or "imatrix.datasets" in header.metadata:
        raise GgufError(
            f"{name}: is an importance matrix, not a model",
            hint="dslocal convert --imatrix takes it",
        )
    if kind == "mmproj" or arch == "clip":
        raise GgufError(
            f"{name}: is an image projector (mmproj), not a model by itself",
            hint="name the language model's file; dslocal models read only text",
        )
    if arch == "controlvector":
        raise GgufError(f"{name}: is a control vector, not a model", hint="name the model's file")
    is_part = header.integer("split.count", 1) > 1
    if not header.tensors and not is_part:
        raise GgufError(
            f"{name}: holds no weights, at most a vocabulary",
            hint="download the model's file, or convert its checkpoint",
        )


def _read_part(file: Path, number: int, count: int) -> GgufHeader:
    """Read one part's header and check that it is part ``number``, counted from 0."""
    if not is_file(file):
        raise NotFoundError(
            f"{file}: is missing: part {number + 1} of {count}",
            hint="all parts must be in one folder",
        )
    header = read_header(file)
    if (header.integer("split.no", -1), header.integer("split.count")) != (number, count):
        raise GgufError(f"{file.name}: is not part {number + 1} of {count}, by its own header")
    return header
