"""Where a model of models.yaml is published: which revision and files of its checkpoint, and who
has it as ready-made GGUF files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .strict_yaml import Section, YamlValue

Weights = Literal["safetensors", "pytorch"]
WEIGHTS: tuple[Weights, ...] = ("safetensors", "pytorch")
DEFAULT_REVISION = "main"
DEFAULT_FILES = ("*.json", "*.safetensors")
DEFAULT_QUANTS = ("Q8_0", "Q4_K_M", "Q2_K")  # best first
KEYS = ("revision", "weights", "files", "gguf")  # of what is not here yet
READY_MADE_KEYS = ("repository", "files", "mtp")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!refs/(?!pr/[1-9]\d*$))\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_PATTERN = re.compile(r"(?!\.+$)[\w.*?!\[\]-]{1,100}", re.ASCII)
_QUANT = re.compile(r"[A-Z][A-Z0-9_]{1,31}")
_GGUF = re.compile(r"(\w[\w.+-]*/)*\w[\w.+-]*\.gguf", re.ASCII)
_PART = re.compile(r"-\d+-of-\d+\.gguf$", re.ASCII)
_FIRST_PART = re.compile(r"-00001-of-(?!00000)\d{5}\.gguf$", re.ASCII)


@dataclass(frozen=True)
class ReadyMade:
    """A repository that has a model as GGUF files known to be good.

    ``files`` is the path of each quantization inside it, of a split file that of its first part.
    ``mtp`` is whether they hold the layer for multi-token prediction.
    """

    repository: str
    files: Mapping[str, str]
    mtp: bool = False


def repository(section: Section) -> str:
    """OWNER/NAME."""
    found = section.text("repository")
    if not _REPOSITORY.fullmatch(found) or ".." in found:
        raise section.fail("repository", f"{found!r:.80} is not OWNER/NAME")
    return found


def quants(entry: Section, shape: Section, quant: str) -> tuple[str, ...]:
    """The recommended quantizations, best first, ``quant`` among them: those of ``entry``, else of
    its ``shape``, else the usual.
    """
    if "quants" in entry.values:
        own = quants_of(entry)
        if quant.upper() not in own:
            raise entry.fail("quants", f"lacks {quant!r:.40}, the quant of the model")
        return own
    usual = quants_of(shape) if "quants" in shape.values else DEFAULT_QUANTS
    if quant.upper() in usual:
        return usual
    return tuple(sorted((*usual, quant), key=_bits, reverse=True))


def quants_of(section: Section) -> tuple[str, ...]:
    return _list(section, "quants", _quant)


def published(entry: Section) -> dict[str, Any]:
    """``revision``, ``weights``, ``files`` and ``gguf`` of a model, those that its entry has."""
    found: dict[str, Any] = {}
    if "revision" in entry.values:
        found["revision"] = _revision(entry)
    if "weights" in entry.values:
        found["weights"] = _weights(entry)
    if "files" in entry.values:
        found["files"] = _list(entry, "files", _pattern)
    if "gguf" in entry.values:
        found["gguf"] = tuple(_ready_made(item) for item in _sections(entry, "gguf"))
    return found


def _revision(entry: Section) -> str:
    name = entry.text("revision")
    if (
        len(name) > 100
        or not _REVISION.fullmatch(name)
        or ".." in name
        or name.endswith((".", ".lock"))
    ):
        raise entry.fail("revision", f"{name!r:.80} is not a branch, a tag, refs/pr/N or a commit")
    return name


def _weights(entry: Section) -> Weights:
    for known in WEIGHTS:
        if entry.text("weights") == known:
            return known
    raise entry.fail("weights", f"is not {' or '.join(WEIGHTS)}")


def _quant(name: str) -> str | None:
    return None if _QUANT.fullmatch(name) else f"{name!r:.40} is not a name as Q4_K_M"


def _pattern(pattern: str) -> str | None:
    return (
        None
        if _PATTERN.fullmatch(pattern)
        else f"{pattern!r:.80} is not a pattern of file names as *.json"
    )


def _ready_made(section: Section) -> ReadyMade:
    section.only(READY_MADE_KEYS)
    files = section.section("files")
    if not files.values:
        raise section.fail("files", "is missing" if "files" not in section.values else "is empty")
    for quant in files.values:
        if why := _quant(quant):
            raise files.fail(quant[:40], why)
    mtp = section.flag("mtp") if "mtp" in section.values else False
    return ReadyMade(
        repository(section), {quant: _gguf(files, quant) for quant in files.values}, mtp
    )


def _gguf(files: Section, quant: str) -> str:
    path = files.text(quant)
    if not _GGUF.fullmatch(path) or ".." in path:
        raise files.fail(
            quant, f"{path!r:.80} is not the path of a .gguf file inside the repository"
        )
    if _PART.search(path) and not _FIRST_PART.search(path):
        raise files.fail(
            quant,
            f"{path!r:.80} is not the first part of a split file, which ends in -00001-of-NNNNN.gguf",
        )
    return path


def _list(section: Section, key: str, wrong: Callable[[str], str | None]) -> tuple[str, ...]:
    """A list of different texts. ``wrong`` says what is the matter with one, if anything is."""
    found: list[str] = []
    for item in _items(section, key):
        at = Section(section.file, section.where, item.line, {})
        if not isinstance(item.data, str):
            raise at.fail(key, "is not a list of texts")
        if why := wrong(item.data):
            raise at.fail(key, why)
        if item.data in found:
            raise at.fail(key, f"{item.data!r:.80} occurs twice")
        found.append(item.data)
    return tuple(found)


def _sections(section: Section, key: str) -> Iterator[Section]:
    """A list of mappings."""
    for item in _items(section, key):
        if not isinstance(item.data, dict):
            raise Section(section.file, section.where, item.line, {}).fail(
                key, "is not a list of mappings"
            )
        yield Section(section.file, f"{section.where}: {key}", item.line, item.data)


def _items(section: Section, key: str) -> list[YamlValue]:
    data = section.values[key].data
    if not isinstance(data, list) or not data:
        raise section.fail(key, "is not a list of one or more")
    return data


def _bits(quant: str) -> int:
    """About how many bits a weight takes, by the name; 0 where that says nothing."""
    digits = re.search(r"\d+", quant)
    return int(digits[0]) if digits else 0
