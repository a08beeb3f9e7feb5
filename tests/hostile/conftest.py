"""Fixtures of the hostile tests: whole checkpoints made once, copies of them to damage, and a hub
to lie with.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.checkpoints.damage import Case, check, make_base
from support.hub.hub_lies import around
from support.hub.hub_runs import Rig, rig
from support.hub.stream_trials import small_checkpoint

Bases = Callable[[str], Path]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """An undamaged checkpoint by its name in ``damage.BASES``; not to be written to."""
    return functools.cache(lambda name: make_base(tmp_path_factory.mktemp("bases") / name, name))


@pytest.fixture
def copy(bases: Bases, tmp_path: Path) -> Bases:
    """A copy of an undamaged checkpoint, to be damaged."""
    return lambda name: Path(shutil.copytree(bases(name), tmp_path / name))


@pytest.fixture
def refused(copy: Bases, tmp_path: Path) -> Callable[[Case], None]:
    """Damages a checkpoint and checks that it is refused."""

    def do(case: Case) -> None:
        out = tmp_path / "out"
        out.mkdir()
        check(case, copy(case.base), out)

    return do


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("small"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must stay as it is."""
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    (folder / "canary.json").write_bytes(b'{"a": "bird"}')
    (folder / "inner" / "canary").write_bytes(b"another")
    return folder


@pytest.fixture
def liar(small: Path, tmp_path: Path, outside: Path) -> Iterator[Rig]:
    """A hub to lie with; afterwards nothing has changed around the folders that belong to the
    run.
    """
    before = around(tmp_path)
    with rig(tmp_path / "rig", small) as it:
        yield it
    assert around(tmp_path) == before
