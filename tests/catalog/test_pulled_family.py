"""Proves that a file which was pulled by its name in models.yaml is prompted as that says, and that
no other file is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dslocal import catalog
from dslocal.catalog.inventory import Provenance
from dslocal.catalog.pulled_family import pulled_family

NAME = "deepseek-v4-flash-0731"
ORIGIN = "hf:antirez/deepseek-v4-gguf@0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "how", "origin", "family"),
    [
        (NAME, "downloaded", ORIGIN, "v4-0731"),
        ("deepseek-v4-flash", "downloaded", ORIGIN, "v4"),
        (NAME, "imported", ORIGIN, None),
        (NAME, "downloaded", "hf:somebody/deepseek-v4-gguf@main", None),
        (NAME, "downloaded", "https://example.com/antirez/deepseek-v4-gguf", None),
        ("mine", "downloaded", ORIGIN, None),
    ],
)
def test_which_name_decides_the_family(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    how: Provenance,
    origin: str,
    family: str | None,
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    file = tmp_path / "some.gguf"
    file.write_bytes(b"")
    catalog.add_installed(
        catalog.InstalledModel(name, "V4-IQ2", file, (file,), 0, how, origin, 0.0)
    )
    assert pulled_family(file) == family
    assert pulled_family(tmp_path / "other.gguf") is None
