"""One server for all tests that do not end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server.serving import Serving, serving


@pytest.fixture(scope="session")
def served(home: Path, nano: Path) -> Iterator[Serving]:
    with serving(
        home, "--parallel", "3", "--ctx", "1024", "--no-math", "--max-body", "1MiB"
    ) as server:
        yield server
