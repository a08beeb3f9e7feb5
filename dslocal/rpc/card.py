"""A worker's description of itself: a JSON object, sent at the port after llama.cpp's.

llama.cpp's RPC protocol tells neither its commit nor how much memory a CPU's cgroup still allows,
and a busy server does not answer at all. The card tells both, also while the server is busy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.host import clean_name

from .identity import Identity

FORMAT = "dslocal-worker-1"
MAX_BYTES = 64 << 10
MAX_DEVICES = 64
MAX_MEMORY = 1 << 56
MIN_RATE, MAX_RATE = 1e6, 1e15  # bytes a second; less is taken for unknown
KINDS = ("cpu", "cuda", "metal", "other")


@dataclass(frozen=True, slots=True)
class DeviceCard:
    """One device of a worker, in the order of the protocol's numbers.

    Attributes:
        name: its name, fit to be printed.
        kind: "cpu", or which kernels run on it: "cuda", "metal" or "other".
        total: bytes of its memory.
        free: bytes that a model may still take.
        rate: bytes a second that decoding reads there; 0 where that is not known.
        types: the same for weights of a type, by its name.
    """

    name: str
    kind: str
    total: int
    free: int
    rate: float = 0.0
    types: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """A worker, as it describes itself.

    Attributes:
        identity: its llama.cpp.
        devices: what it offers.
        client: the address of the machine that it works for, if any.
    """

    identity: Identity
    devices: tuple[DeviceCard, ...]
    client: str = ""

    def as_bytes(self) -> bytes:
        """Return what is sent."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode() + b"\n"


def parse_card(data: bytes) -> WorkerCard | None:
    """Return the card that ``data`` is, or None for anything else."""
    try:
        fields = json.loads(data)
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            return None
        identity = {name: clean_name(str(fields["identity"][name])) for name in _IDENTITY}
        devices = tuple(_device(device) for device in fields["devices"][:MAX_DEVICES])
        client = fields.get("client")
        named = clean_name(client) if isinstance(client, str) and client else ""
        return WorkerCard(Identity(**identity), devices, named)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


_IDENTITY = ("package", "ggml", "tables")


def _device(fields: Mapping[str, Any]) -> DeviceCard:
    kind = fields["kind"] if fields["kind"] in KINDS else "other"
    total = _bounded(fields["total"], MAX_MEMORY)
    rate = _rate(fields.get("rate", 0.0))
    free = min(int(_bounded(fields["free"], MAX_MEMORY)), int(total))
    types = {
        name: _rate(known)
        for name, known in fields.get("types", {}).items()
        if name in GgmlType.__members__
    }
    name = clean_name(str(fields["name"]))
    return DeviceCard(name, kind, int(total), free, rate, types)


def _rate(value: object) -> float:
    """Return a rate; 0 for one that nothing has."""
    rate = float(_bounded(value, MAX_RATE))
    return rate if rate >= MIN_RATE else 0.0


def _bounded(value: object, most: float) -> float:
    """Return a number from 0 to ``most``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{value!r:.40} is out of range")
    return value
