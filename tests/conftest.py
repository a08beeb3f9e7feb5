"""What all tests share: nano, converted once into a home that is thrown away, and the real binary.

ggml gets one thread: nano needs no more, and on a machine with other work several threads wait for
each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import Run

os.environ["OMP_THREAD_LIMIT"] = "1"  # before anything loads llama.cpp

from dslocal.catalog import resolve
from dslocal.engine import LlamaContext, LlamaModel


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``DSLOCAL_HOME`` for the whole run, this process included."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DSLOCAL_")]:
            patch.delenv(name)
        patch.setenv("DSLOCAL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def nano(home: Path) -> Path:
    """nano as a GGUF file."""
    return resolve.ready("nano")


@pytest.fixture(scope="session")
def run(home: Path, nano: Path) -> Run:
    """The real binary, with nano converted already."""
    return Run(home)


@pytest.fixture(scope="session")
def model(nano: Path) -> Iterator[LlamaModel]:
    """nano, loaded."""
    with LlamaModel(nano) as loaded:
        yield loaded


@pytest.fixture
def context(model: LlamaModel) -> Iterator[LlamaContext]:
    """A fresh context of all of nano's positions."""
    with LlamaContext(model, model.n_ctx_train) as fresh:
        yield fresh
