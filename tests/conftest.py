"""What all tests share: nano, converted once a run, a home for every module, and the real binary.

ggml gets one thread: nano needs no more, and on a machine with other work several threads wait for
each other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from support.cli.forked import Forked
from support.cli.running import Run

os.environ["OMP_THREAD_LIMIT"] = "1"  # before anything loads llama.cpp

from dslocal.catalog import conversion_cache
from dslocal.engine import LlamaContext, LlamaModel

# the same examples in every run, and others, more of them, for test_properties.py
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.register_profile("same", UNHURRIED, derandomize=True)
settings.register_profile("random", UNHURRIED, max_examples=1000)

UNWANTED = ("NO_COLOR", "COLUMNS", "LINES", "HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE")
NewHome = Callable[[str], Path]


def pytest_configure(config: pytest.Config) -> None:
    """Use the profile ``same``, unless another one was asked for."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("same")


@pytest.fixture(scope="session")
def whole_run(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once a run and never changed, whichever worker makes it.

    The configuration says whether this process is a worker. The environment does not: a pytest
    that a test starts inherits it, and would take the parent's folder for its own.
    """
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(pytestconfig, "workerinput") else base


@pytest.fixture(scope="session")
def first_home(whole_run: Path) -> Path:
    """A home in which nano is converted, once a run. Not to be written to."""
    folder = whole_run / "first-home"
    with FileLock(whole_run / "first-home.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(folder))
        conversion_cache.ensure_gguf("nano")
    return folder


@pytest.fixture(scope="session")
def new_home(first_home: Path, tmp_path_factory: pytest.TempPathFactory) -> NewHome:
    """Makes homes in which nano is converted already; the file is one for all of them."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(first_home / "cache", folder / "cache", copy_function=os.link)
        return folder

    return make


@pytest.fixture(scope="session", autouse=True)
def _not_the_users_home(whole_run: Path) -> Iterator[None]:
    """No setting of the user's, and a home that is empty, for tests that ask for none."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [
            name for name in os.environ if name in UNWANTED or name.startswith("DSLOCAL_")
        ]:
            patch.delenv(name)
        patch.setenv("DSLOCAL_HOME", str(whole_run / "no-home"))
        yield


@pytest.fixture(scope="module")
def home(new_home: NewHome) -> Iterator[Path]:
    """``DSLOCAL_HOME`` for the tests of one module, this process included."""
    folder = new_home("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def nano(home: Path) -> Path:
    """nano as a GGUF file, in ``home``."""
    return conversion_cache.ensure_gguf("nano")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """The real binary, with nano converted already."""
    return Run(home)


@pytest.fixture(scope="module")
def forked(new_home: NewHome) -> Iterator[Forked]:
    """``dslocal`` many times, in a home of its own: it remembers what was used last."""
    with Forked(Run(new_home("forked"))) as process:
        yield process


@pytest.fixture(scope="session")
def model(first_home: Path) -> Iterator[LlamaModel]:
    """nano, loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(first_home))
        file = conversion_cache.ensure_gguf("nano")
    with LlamaModel(file) as loaded:
        yield loaded


@pytest.fixture
def context(model: LlamaModel) -> Iterator[LlamaContext]:
    """A fresh context of all of nano's positions."""
    with LlamaContext(model, model.n_ctx_train) as fresh:
        yield fresh
