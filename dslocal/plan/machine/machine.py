"""The machine that a model is to run on, described. Probing it is for :mod:`.probe`; here it is
only data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Os = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device of ggml's. Bytes; ``free`` is what a process may still take, for Metal its
    recommended working set.
    """

    name: str
    kind: Literal["cuda", "metal", "other"]
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Machine:
    """``ram`` is what is installed or allowed, ``available`` what can be had now without swapping,
    both in bytes.

    ``unified``: GPU and CPU share the RAM (Apple Silicon), so that ``gpus[0].free`` is a part of
    ``available``, not more of it. ``limited_by`` names what holds ``available`` down, as a cgroup;
    ``notes`` are for the user, as memory pressure.
    """

    os: Os
    cpu: str
    cores: int
    ram: int
    available: int
    gpus: tuple[Gpu, ...] = ()
    unified: bool = False
    limited_by: str = ""
    notes: tuple[str, ...] = ()

    @property
    def vram(self) -> int:
        """Bytes that a model may take on the GPUs."""
        return sum(gpu.free for gpu in self.gpus)
