"""The table of chips, GPUs and CPUs, hardware.yaml: read strictly, looked up by any usual name.

Numbers of data sheets, not what is reached.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from dslocal.plan.load_config import GpuKind
from dslocal.strict_yaml import Rule, Section, read_yaml

GB = 10**9
HARDWARE_FILE = Path(__file__).with_name("hardware.yaml")
KINDS = ("metal", "cuda", "other")

# Words that make another product of it, so that a name without them does not match.
GPU_VARIANTS = frozenset(["laptop", "mobile", "ti", "super", "xt", "xtx", "gre", "d", "s"])
APPLE_VARIANTS = frozenset(["pro", "max", "ultra"])
VENDORS = frozenset(["apple", "nvidia", "amd", "intel", "geforce", "radeon"])
# Words of a name that say nothing of the product.
NEUTRAL = frozenset(["gpu", "graphics", "card", "chip", "rtx", "gtx", "rx"])
_SIZE = re.compile(r"\d+(gb|gib)?|gb|gib")
_GPU_SERIES = re.compile(r"\b(rtx|gtx|rx)(?=\d)")
_APPLE_CHIP = re.compile(r"m\d+")


@dataclass(frozen=True, slots=True)
class Chip:
    """A CPU and a GPU that share their memory.

    Attributes:
        name: what it is called.
        cores: CPU cores to compute with.
        memory: GiB that it is sold with.
        bandwidth: bytes a second.
        kind: whose kernels run on the GPU.
        source: where the numbers are from.
        gpu_share: the share of the RAM that the GPU may take by default; 0 where macOS says it.
        expected: whether it was not announced yet.
    """

    name: str
    cores: int
    memory: tuple[int, ...]
    bandwidth: float
    kind: GpuKind
    source: str
    gpu_share: float = 0.0
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU with memory of its own; attributes as of :class:`Chip`."""

    name: str
    memory: tuple[int, ...]
    bandwidth: float
    kind: GpuKind
    source: str


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU; attributes as of :class:`Chip`."""

    name: str
    cores: int
    bandwidth: float
    source: str


@dataclass(frozen=True, slots=True)
class Typical:
    """What is assumed of a machine with at least ``memory`` GiB; ``bandwidth`` only of a chip."""

    memory: int
    name: str
    bandwidth: float = 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """The whole table."""

    sources: dict[str, str]
    chips: tuple[Chip, ...]
    gpus: tuple[Card, ...]
    cpus: tuple[Processor, ...]
    typical: dict[str, tuple[Typical, ...]]


@functools.cache
def load_hardware(file: Path = HARDWARE_FILE) -> Hardware:
    """Return the table.

    Raises:
        DslocalError: it breaks a rule; the message names file, line and key.
    """
    root = read_yaml(file)
    root.read(dict.fromkeys(("sources", "chips", "gpus", "cpus", "typical"), _unread))
    sources = root.section("sources")
    known = {key: sources.text(key) for key in sources.values}
    gpus = tuple(Card(**row) for row in _rows(root, "gpus", _CARD, known))
    cpus = tuple(Processor(**row) for row in _rows(root, "cpus", _PROCESSOR, known))
    return Hardware(
        sources=known,
        chips=tuple(Chip(**row) for row in _rows(root, "chips", _CHIP, known)),
        gpus=gpus,
        cpus=cpus,
        typical=_read_typical(root.section("typical"), gpus, cpus),
    )


def find_chip(text: str, *, ram: int = 0, cores: int = 0) -> Chip | None:
    """Return the chip that ``text`` names, in the row that fits best.

    Args:
        text: as people or an OS call it: "M4 Max", "Apple M4 Max", "Strix Halo".
        ram: bytes of RAM, which tell rows of one name apart.
        cores: cores to compute with, which do so too.
    """
    words = _words(text)

    def is_named(chip: Chip) -> bool:
        own = _words(chip.name) - VENDORS
        if any(_APPLE_CHIP.fullmatch(word) for word in own):
            return own <= words and own & APPLE_VARIANTS == words & APPLE_VARIANTS
        return own <= words

    named = _longest(filter(is_named, load_hardware().chips))
    gib = round(ram / 2**30)
    named = [chip for chip in named if chip.cores == cores] or named
    named = [chip for chip in named if gib in chip.memory] or named
    return max(named, key=lambda chip: chip.bandwidth, default=None)


def find_gpu(text: str, *, memory: int = 0) -> Card | None:
    """Return the card that ``text`` names, in the row that comes nearest to so many bytes.

    Args:
        text: as people or a driver call it: "4090", "RTX 4090", "NVIDIA GeForce RTX 4090".
        memory: bytes of its memory; 0 takes the largest card of that name.
    """
    words = _words(_GPU_SERIES.sub(r"\1 ", text.lower()))
    candidates = [words, *(words | {series} for series in ("rtx", "rx", "gtx"))]
    for candidate in candidates:
        named = _longest(card for card in load_hardware().gpus if _is_card(card, candidate))
        if named and memory:
            gib = memory / 2**30
            return min(named, key=lambda card: min(abs(size - gib) for size in card.memory))
        if named:
            return max(named, key=lambda card: max(card.memory))
    return None


def find_cpu(text: str) -> Processor | None:
    """Return the CPU that ``text`` names: "EPYC 9554", "7950X", "13th Gen Intel Core i9-13900K"."""
    words = _words(text)
    rows = load_hardware().cpus
    whole = [cpu for cpu in rows if all(_is_among(own, words) for own in _words(cpu.name))]
    by_number = [cpu for cpu in rows if _has_number(cpu, words)]
    return next(iter(_longest(whole) or _longest(by_number)), None)


def ignored_words(text: str, row: Chip | Card) -> list[str]:
    """Return the words of a name that the chosen row does not explain, such as misspelled ones."""
    explained = _words(row.name) | VENDORS | NEUTRAL
    words = re.findall(r"[a-z0-9]+", _GPU_SERIES.sub(r"\1 ", text.lower()))
    return [word for word in words if word not in explained and not _SIZE.fullmatch(word)]


def typical_of(kind: str, memory: int) -> Typical:
    """Return what is assumed where only the bytes of memory are known.

    Args:
        kind: "chips", "gpus" or "cpus".
        memory: bytes.
    """
    rows = load_hardware().typical[kind]
    having = [row for row in rows if memory >= row.memory << 30]
    return having[-1] if having else rows[0]


def _is_card(card: Card, words: frozenset[str]) -> bool:
    """Return whether a card may give itself a name of these words."""
    own = _words(card.name) - VENDORS
    return own <= words and own & GPU_VARIANTS == words & GPU_VARIANTS


def _has_number(cpu: Processor, words: frozenset[str]) -> bool:
    """Return whether the model number of a CPU is among the words."""
    number = re.findall(r"[a-z0-9]+\*?", cpu.name.lower())[-1]
    return len(number) > 2 and any(map(str.isdigit, number)) and _is_among(number, words)


def _is_among(word: str, words: frozenset[str]) -> bool:
    """Return whether a word is among others; one ending in ``*`` is where one begins so."""
    if word.endswith("*"):
        return any(other.startswith(word[:-1]) for other in words)
    return word in words


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+\*?", text.lower()))


Row = TypeVar("Row", Chip, Card, Processor)


def _longest(rows: Iterable[Row]) -> list[Row]:
    """Return those rows whose name has the most words, and of them the whole and longest."""
    found = list(rows)
    longest = max((_length(row.name) for row in found), default=None)
    return [row for row in found if _length(row.name) == longest]


def _length(name: str) -> tuple[int, bool, int]:
    return len(_words(name)), not name.endswith("*"), len(name)


def _unread(section: Section, key: str) -> None:
    """Accept a key that is read on its own."""


def _memory(section: Section, key: str) -> tuple[int, ...]:
    if isinstance(section.values[key].data, list):
        return tuple(section.integers(key))
    return (section.integer(key),)


def _bandwidth(section: Section, key: str) -> float:
    return section.number(key) * GB


def _kind(section: Section, key: str) -> GpuKind:
    kind = section.text(key)
    if kind not in KINDS:
        raise section.fail(key, f"is not {' or '.join(KINDS)}")
    return cast(GpuKind, kind)


def _share(section: Section, key: str) -> float:
    share = section.number(key)
    if share > 1:
        raise section.fail(key, "is more than 1")
    return share


_PROCESSOR: dict[str, Rule] = {
    "name": Section.text,
    "cores": Section.integer,
    "bandwidth": _bandwidth,
    "source": Section.text,
}
_CARD: dict[str, Rule] = {
    "name": Section.text,
    "memory": _memory,
    "bandwidth": _bandwidth,
    "kind": _kind,
    "source": Section.text,
}
_CHIP: dict[str, Rule] = {**_CARD, "cores": Section.integer}
_OPTIONAL: dict[str, Rule] = {"gpu_share": _share, "expected": Section.flag}
_TYPICAL: dict[str, Rule] = {"memory": Section.integer, "name": Section.text}


def _rows(
    root: Section, key: str, rules: dict[str, Rule], sources: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of one list. Raises DslocalError for one without a known source."""
    found = []
    seen: set[tuple[object, ...]] = set()
    optional = _OPTIONAL if rules is _CHIP else {}
    for section in root.sections(key):
        row = section.read({**rules, **optional})
        section.require(rules, row)
        if row["source"] not in sources:
            raise section.fail("source", f"{row['source']!r:.60} is not one of sources")
        identity = (row["name"], row.get("memory"))
        if identity in seen:
            raise section.fail("name", f"{row['name']!r:.60} occurs twice with the same memory")
        seen.add(identity)
        found.append(row)
    return found


def _read_typical(
    section: Section, gpus: Sequence[Card], cpus: Sequence[Processor]
) -> dict[str, tuple[Typical, ...]]:
    """Read what is assumed. Raises DslocalError for a name that is not in the table."""
    section.read(dict.fromkeys(("chips", "gpus", "cpus"), _unread))
    names = {"gpus": {card.name for card in gpus}, "cpus": {cpu.name for cpu in cpus}}
    found = {}
    for key in ("chips", "gpus", "cpus"):
        rules = _TYPICAL if key in names else {**_TYPICAL, "bandwidth": _bandwidth}
        rows: list[Typical] = []
        for item in section.sections(key):
            row = item.read(rules)
            item.require(rules, row)
            if key in names and row["name"] not in names[key]:
                raise item.fail("name", f"{row['name']!r:.60} is not one of {key}")
            if rows and row["memory"] <= rows[-1].memory:
                raise item.fail("memory", "is not more than that of the row above")
            rows.append(Typical(**row))
        found[key] = tuple(rows)
    return found
