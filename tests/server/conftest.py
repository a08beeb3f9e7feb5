"""One server for all tests that do not end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.server.serving import Serving, serving

OPTIONS = ("--parallel", "3", "--ctx", "1024", "--no-math", "--max-body", "1MiB")


@pytest.fixture(scope="session")
def served(new_home: Callable[[str], Path]) -> Iterator[Serving]:
    with serving(new_home("served"), *OPTIONS) as server:
        yield server
