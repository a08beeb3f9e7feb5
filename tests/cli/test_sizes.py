"""Proves that sizes on the command line mean what they say: decimal units and binary ones, and
nothing else.
"""

from __future__ import annotations

import pytest

from dslocal.api.arguments.sizes import size_in_bytes
from dslocal.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("512B", 512),
        ("24G", 24 * 10**9),
        ("64gb", 64 * 10**9),
        ("16GiB", 16 << 30),
        ("16gi", 16 << 30),
        (" 1.5TiB ", 3 << 39),
        ("0.5kB", 500),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "G",
        "GiB",
        "-1",
        "0",
        "0.1",
        "1e400",
        "nan",
        "inf",
        "1 X",
        "1GG",
        "1iB",
        "16 MiB s",
        "2000000TiB",
    ],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        size_in_bytes(text)


def test_none_can_be_meant() -> None:
    assert size_in_bytes("0", least=0) == size_in_bytes("0GiB", least=0) == 0
    with pytest.raises(UsageError):
        size_in_bytes("X", least=0)
