"""A device of another machine that lends its memory, as data for a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import GpuKind

RemoteKind: TypeAlias = Literal["cpu"] | GpuKind
"""Which kernels run on a device of another machine."""


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    """A CPU or GPU of a worker.

    Attributes:
        endpoint: the worker, as ``HOST:PORT``.
        number: which of its devices.
        name: its name, fit to be printed.
        kind: which kernels run on it.
        total: bytes of its memory.
        free: bytes that a model may still take.
        rate: bytes a second that decoding reads there; 0 where that is not known.
        round_trip: seconds from a request to its response.
        link: bytes a second of the network between; 0 where that is not known.
        type_rates: like ``rate``, of weights of a type, where a CPU was measured with it.
    """

    endpoint: str
    number: int
    name: str
    kind: RemoteKind
    total: int
    free: int
    rate: float = 0.0
    round_trip: float = 0.0
    link: float = 0.0
    type_rates: tuple[tuple[GgmlType, float], ...] = ()
