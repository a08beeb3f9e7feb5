"""Read the header of a model file, check it, and recognise how the model is prompted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dslocal.gguf.header import GgufHeader
    from dslocal.prompts import Family


def read_family(path: Path, family: str | None = None) -> tuple[GgufHeader, Family]:
    """Read the header of a GGUF file, check it, and recognise how the model is prompted.

    A file that was pulled by a name of models.yaml gets the family that models.yaml names.

    Args:
        path: the file, or the first of several parts.
        family: the family to use instead of the recognised one.

    Returns:
        The header, with the tensors of all parts, and the family.

    Raises:
        GgufError: llama.cpp would abort the process while loading this file.
        UnsupportedModelError: no family fits, or no prompt can be written for it.
        UsageError: ``family`` is not one.
    """
    from dslocal.catalog.pulled_family import pulled_family
    from dslocal.gguf.architectures import require_known
    from dslocal.gguf.parts import read_parts
    from dslocal.prompts import recognise_family

    from .file_faults import require_promptable

    header = read_parts(path)[1]
    require_known(header.architecture, path.name)
    recognised = recognise_family(header, family or pulled_family(path))
    require_sound(path.name, header)
    require_promptable(path.name, header, recognised.family)
    return header, recognised.family


def require_sound(name: str, header: GgufHeader) -> None:
    """Check that llama.cpp can load what a header describes.

    Args:
        name: The file's name, for the message.
        header: Its header, with the tensors of all parts.

    Raises:
        GgufError: llama.cpp would abort the process while loading this file.
    """
    from dslocal.plan.memory.validate import validate_vocabulary

    require_shape(name, header)
    with _named(name):
        validate_vocabulary(header)


def require_shape(name: str, header: GgufHeader) -> None:
    """Check that a header describes a model whose memory can be planned.

    Args:
        name: The file's name, for the message.
        header: Its header, with the tensors of all parts.

    Raises:
        GgufError: Its numbers make no sense.
        UnsupportedModelError: An architecture whose memory is not known.
    """
    from dslocal.plan.memory.shape import shape_of

    with _named(name):
        shape_of(header)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    from dslocal.errors import GgufError

    try:
        yield
    except GgufError as e:
        raise GgufError(f"{name}: {e}", hint=e.hint) from e
