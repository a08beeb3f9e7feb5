"""The machine that a model is to run on, as data. Probing it is for :mod:`.probe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dslocal.gguf.cpu_repack import RepackedType
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import GpuKind

from .remote import RemoteDevice

Os = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device of ggml's.

    Attributes:
        name: its name, fit to be printed.
        kind: which kernels run on it.
        total: bytes of its memory; for Metal its recommended working set.
        free: bytes that a process may still take.
        bandwidth: bytes a second of its memory, where it was described; None leaves that to its
            name.
    """

    name: str
    kind: GpuKind
    total: int
    free: int
    bandwidth: float | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine.

    Attributes:
        os: its operating system.
        cpu: the name of its CPU.
        cores: CPUs to compute with.
        ram: bytes that are installed or allowed.
        available: bytes that can be had now without swapping.
        gpus: its GPUs.
        unified: whether GPU and CPU share the RAM (Apple Silicon), so that ``gpus[0].free`` is a
            part of ``available``, not more of it.
        bandwidth: bytes a second of the RAM, where it was described; None leaves that to the name
            of the CPU, or to a measurement.
        repacked: the types whose weights llama.cpp rearranges for the CPU.
        unused_gpu: what is to be said of a GPU that llama.cpp was not built for, with the command
            that changes it; one of ``notes``.
        limited_by: what holds ``available`` down, such as a cgroup.
        rate: bytes a second that decoding reads from RAM, where that was measured.
        type_rates: the same of weights of a type.
        workers: devices of other machines that lend their memory.
        notes: for the user, such as memory pressure.
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
    bandwidth: float | None = None
    repacked: tuple[RepackedType, ...] = ()
    unused_gpu: str = ""
    rate: float = 0.0
    type_rates: tuple[tuple[GgmlType, float], ...] = ()
    workers: tuple[RemoteDevice, ...] = ()

    @property
    def vram(self) -> int:
        """Return the bytes that a model may take on the GPUs."""
        return sum(gpu.free for gpu in self.gpus)
