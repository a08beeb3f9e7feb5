"""Build a machine from a user's description: sizes, or the names of its parts.

If the user leaves something out, the usual value for such sizes is assumed, and a note says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dslocal.errors import UsageError
from dslocal.files import binary_size, whole_number
from dslocal.plan.memory.repack import ARM, X86

from . import probe_macos
from .hardware import (
    GB,
    Card,
    Chip,
    Processor,
    find_chip,
    find_cpu,
    find_gpu,
    ignored_words,
    load_hardware,
    typical_of,
)
from .host import clean_name
from .machine import Gpu, Machine, Os

# Bytes that an idle system keeps.
SYSTEM_RAM: dict[Os, int] = {"linux": 1 << 30, "macos": 3 << 30, "windows": 4 << 30}
DESCRIBED_CORES = 8
MAX_GPUS = 64
ARM_SOURCES = ("ampere", "qualcomm", "raspberry")  # of CPUs in the table


@dataclass(frozen=True)
class Parts:
    """The parts of a machine by name, as :mod:`.hardware` knows them, and what is said of speed.

    Attributes:
        gpus: its GPUs.
        cpu: its CPU.
        chip: a chip whose CPU and GPU share the RAM.
        bandwidth: bytes a second of the memory that is read the most: the GPUs', or the RAM's
            without a GPU that has memory of its own.
    """

    gpus: Sequence[Card] = ()
    cpu: Processor | None = None
    chip: Chip | None = None
    bandwidth: float | None = None


NO_PARTS = Parts()


@dataclass
class _Draft:
    """A machine in the making."""

    gpus: list[Gpu] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def describe_machine(
    ram: int,
    *,
    vram: int | Sequence[int] | None = None,
    os: Os = "linux",
    cores: int | None = None,
    parts: Parts = NO_PARTS,
) -> Machine:
    """Return a machine that is not here, with nothing else running on it.

    Args:
        ram: bytes of RAM.
        vram: bytes of the memory of its GPU, or of each of them; of a chip's GPU what it may take
            of the RAM. None is the memory of the GPUs that are named, macOS's own share, or no GPU.
        os: its operating system.
        cores: its CPU cores.
        parts: the names of its parts.

    Raises:
        UsageError: the sizes do not go with the parts.
    """
    sizes = [vram] if isinstance(vram, int) else vram
    available = ram - min(SYSTEM_RAM[os], ram // 4)
    kept = binary_size(ram - available)
    draft = _Draft(notes=[f"described, not probed: {kept} of RAM are left to the system"])
    if os == "macos" or parts.chip:
        return _with_shared_memory(draft, ram, available, sizes, os, cores, parts)
    _add_gpus(draft, sizes, parts)
    cpu, bandwidth = _cpu(draft, ram, parts)
    return Machine(
        os=os,
        cpu=parts.cpu.name if parts.cpu else "described",
        cores=cores or (cpu.cores if cpu else DESCRIBED_CORES),
        ram=ram,
        available=available,
        gpus=tuple(draft.gpus),
        notes=tuple(draft.notes),
        bandwidth=bandwidth,
        repacked=ARM if cpu and cpu.source in ARM_SOURCES else X86,
    )


def named_gpus(text: str) -> list[Card]:
    """Return the cards that ``text`` names: "RTX 4090", or "2x RTX 3090" for two of them.

    Raises:
        UsageError: there is none of that name in the table, or the number is out of range.
    """
    count, name = _count(text)
    card = find_gpu(name)
    if card is None:
        known = sorted({card.name for card in load_hardware().gpus})
        raise _unknown(
            "--gpu",
            name,
            known,
            "describe any other GPU with, for example, --vram 24GiB --bandwidth 936",
        )
    if _counting_words(name.split()):  # of a number that _count does not take
        raise UsageError(f"--gpu: {text!r:.60} is not a number of GPUs from 1 to {MAX_GPUS}")
    return [card] * count


def named_cpu(text: str) -> Processor:
    """Return the CPU that ``text`` names. Raises UsageError where the table has none."""
    cpu = find_cpu(text)
    if cpu is None:
        known = [cpu.name.rstrip("*") for cpu in load_hardware().cpus]
        otherwise = "describe any other CPU with --cpu '2-channel DDR5' or --bandwidth"
        raise _unknown("--cpu", text, known, otherwise)
    return replace(cpu, name=clean_name(text)) if cpu.name.endswith("*") else cpu


def named_chip(text: str, ram: int = 0) -> Chip:
    """Return the chip that ``text`` names. Raises UsageError where the table has none.

    Args:
        text: "M4 Max", "Strix Halo".
        ram: bytes of RAM, which tell the rows of one name apart.
    """
    chip = find_chip(text, ram=ram)
    if chip is None:
        known = [chip.name.removeprefix("Apple ") for chip in load_hardware().chips]
        raise _unknown(
            "--chip", text, list(dict.fromkeys(known)), "describe any other chip with --bandwidth"
        )
    return chip


def name_notes(gpus: Sequence[str], chip: str | None, parts: Parts) -> list[str]:
    """Return a note for each name with words that the table of hardware does not know.

    Args:
        gpus: the names of GPUs, as they were given.
        chip: the name of a chip, as it was given.
        parts: what the names were taken for.
    """
    named: list[tuple[str, str, Chip | Card]] = []
    for text in gpus:
        _, name = _count(text)
        named += [("--gpu", name, card) for card in named_gpus(name)]
    if chip is not None and parts.chip is not None:
        named.append(("--chip", chip, parts.chip))
    return [
        f"{option} {text!r:.60} is read as {row.name}; not known: {', '.join(words):.60}"
        for option, text, row in named
        if (words := ignored_words(text, row))
    ]


def described_gpus(sizes: Sequence[int] | None, parts: Parts) -> tuple[list[Gpu], list[str]]:
    """Return GPUs that are described, and notes on what was assumed of them.

    Args:
        sizes: bytes of the memory of each; None is that of the GPUs that are named.
        parts: the names.

    Raises:
        UsageError: the sizes do not go with the names.
    """
    draft = _Draft()
    _add_gpus(draft, sizes, parts)
    return draft.gpus, draft.notes


def _count(text: str) -> tuple[int, str]:
    """Return how many GPUs a text such as "2x RTX 3090" or "RTX 3090 x2" asks for, and which."""
    words = text.split()
    for place in _counting_words(words):
        count = whole_number(_marked_digits(words[place]))
        if count is not None and 1 <= count <= MAX_GPUS:
            del words[place]
            return count, " ".join(words)
    return 1, text


def _counting_words(words: Sequence[str]) -> list[int]:
    """Return which words, counted from 0 and from -1, say how many GPUs there are."""
    places = (0, -1) if len(words) > 1 else ()
    return [place for place in places if _marked_digits(words[place])]


def _marked_digits(word: str) -> str:
    """Return the digits of a word such as "2x" or "×2"; nothing for any other word."""
    digits = word.lower().strip("x×")
    return digits if digits.isdecimal() and digits != word.lower() else ""


def _unknown(option: str, text: str, known: Sequence[str], otherwise: str) -> UsageError:
    lower = {name.lower(): name for name in known}
    near = [lower[name] for name in difflib.get_close_matches(text.lower(), lower, n=3, cutoff=0.5)]
    hint = f"{', '.join(near)}; {otherwise}" if near else otherwise
    return UsageError(f"{option}: {text!r:.60} is not in the table of hardware", hint=hint)


def _add_gpus(draft: _Draft, sizes: Sequence[int] | None, parts: Parts) -> None:
    """Add the GPUs with memory of their own that are described by name, size or both."""
    cards = list(parts.gpus)
    if sizes is None and not cards:
        draft.notes.append("no GPU is assumed")
        return
    if sizes is None:
        sizes = [max(card.memory) << 30 for card in cards]
    elif cards and len(cards) != len(sizes) and 1 not in (len(cards), len(sizes)):
        raise UsageError(f"{len(cards)} GPUs are named and {len(sizes)} sizes given with --vram")
    count = max(len(cards), len(sizes))
    sizes = list(sizes) * (count if len(sizes) == 1 else 1)
    cards = cards * (count if len(cards) == 1 else 1)
    for number, size in enumerate(sizes):
        if size:
            draft.gpus.append(_gpu(draft, size, cards[number] if cards else None, parts))


def _gpu(draft: _Draft, size: int, card: Card | None, parts: Parts) -> Gpu:
    """Return one GPU, and note what was assumed of it."""
    name = "GPU"
    if card is None and parts.bandwidth is None:
        typical = typical_of("gpus", size)
        card = find_gpu(typical.name, memory=size)
        if card is not None:
            name = (
                f"GPU like an {card.name}" if card.name[0] in "AHR" else f"GPU like a {card.name}"
            )
            speed = f"{card.bandwidth / GB:,.0f} GB/s"
            _note_once(draft, f"the memory of an {card.name} is assumed, {speed}; --gpu names it")
    elif card is not None:
        name = card.name
        card = find_gpu(card.name, memory=size) or card
    rate = parts.bandwidth or (card.bandwidth if card else None)
    return Gpu(name, card.kind if card else "cuda", size, size, rate)


def _cpu(draft: _Draft, ram: int, parts: Parts) -> tuple[Processor | None, float | None]:
    """Return the CPU and the bandwidth of its RAM, and note what was assumed."""
    if parts.cpu:
        cpu: Processor | None = parts.cpu
    else:
        cpu = find_cpu(typical_of("cpus", ram).name)
        if cpu is not None and (parts.bandwidth is None or draft.gpus):
            speed = f"{cpu.bandwidth / GB:,.0f} GB/s"
            _note_once(draft, f"{cpu.name} RAM is assumed, {speed}; --cpu names the CPU")
    if parts.bandwidth and not draft.gpus:
        return cpu, parts.bandwidth
    return cpu, cpu.bandwidth if cpu else None


def _with_shared_memory(
    draft: _Draft,
    ram: int,
    available: int,
    sizes: Sequence[int] | None,
    os: Os,
    cores: int | None,
    parts: Parts,
) -> Machine:
    """Return a machine whose GPU shares the RAM: a Mac, or a PC with such a chip."""
    chip = parts.chip
    if sizes is not None and len(sizes) > 1:
        raise UsageError("--vram: a chip whose GPU shares the RAM has only one GPU")
    if parts.gpus or parts.cpu:
        raise UsageError("--gpu, --cpu: in this machine one chip is both; name it with --chip")
    if chip is None:
        assumed = typical_of("chips", ram)
        rate = assumed.bandwidth
        if not parts.bandwidth:
            speed = f"{rate / GB:.0f} GB/s"
            draft.notes.append(
                f"{assumed.name} is assumed, whose memory gives {speed}; --chip names it"
            )
    else:
        rate = chip.bandwidth
        if chip.expected:
            draft.notes.append(f"{chip.name} is not announced yet: its figures are expected ones")
        if round(ram / 2**30) not in chip.memory:
            sold = ", ".join(map(str, chip.memory))
            draft.notes.append(f"{chip.name} with {rate / GB:,.0f} GB/s is sold with {sold} GiB")
    budget = _gpu_budget(draft, ram, sizes, chip)
    rate = parts.bandwidth or rate
    gpu = Gpu(chip.name if chip else "Metal", chip.kind if chip else "metal", budget, budget, rate)
    return Machine(
        os=os,
        cpu=chip.name if chip else "described",
        cores=cores or (chip.cores if chip else DESCRIBED_CORES),
        ram=ram,
        available=available,
        gpus=(gpu,) if budget else (),
        unified=True,
        notes=tuple(draft.notes),
        bandwidth=rate,
    )


def _gpu_budget(draft: _Draft, ram: int, sizes: Sequence[int] | None, chip: Chip | None) -> int:
    """Return the bytes of RAM that the GPU may take."""
    if sizes is not None:
        return min(sizes[0], ram) if sizes else 0
    if chip is None or not chip.gpu_share:
        draft.notes.append(probe_macos.RULE_NOTE)
        return probe_macos.metal_budget(ram)
    draft.notes.append(
        f"{chip.gpu_share:.0%} of the RAM is planned for its GPU; --vram sets another amount"
    )
    return round(ram * chip.gpu_share)


def _note_once(draft: _Draft, note: str) -> None:
    if note not in draft.notes:
        draft.notes.append(note)
