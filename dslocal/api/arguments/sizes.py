"""Sizes of memory and files as people write them."""

from __future__ import annotations

from dslocal.errors import UsageError

UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def size_in_bytes(text: str, *, least: int = 1) -> int:
    """Return the bytes of a text such as ``180GB``, ``40GiB`` or ``1024``.

    Raises:
        UsageError: it is not a size, or less than ``least``.
    """
    number = text.strip().upper().removesuffix("B")
    digits = number.rstrip("KMGTI")
    unit = UNITS.get(number[len(digits) :])
    try:
        size = int(float(digits) * unit) if unit else -1
    except (ValueError, OverflowError):
        size = -1
    if not least <= size < 1 << 60:
        raise UsageError(
            f"{text!r:.40} is not a size", hint="for example 180GB, 40GiB or a number of bytes"
        )
    return size
