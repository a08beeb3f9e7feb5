"""Contexts that stream experts, on system calls that record, pretend and fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.streaming import opening
from dslocal.engine.streaming.expert_layout import Extent
from dslocal.engine.streaming.system_calls import LinuxCalls
from dslocal.plan.load_config import LoadConfig

N_CTX = 512
PROMPT = list(range(5, 40))


class ColdCalls(LinuxCalls):
    """Says of every piece that it is not in the page cache, and records what is requested.

    Attributes:
        requested: The pieces that were requested of the page cache, by the number of their file.
        read_direct: The pieces that were read past it.
        fails: Whether the disk fails from now on.
    """

    def __init__(self, *, direct: bool = False) -> None:
        """Find nothing in memory.

        Args:
            direct: Whether files can be read past the page cache.
        """
        super().__init__()
        self.requested: list[Extent] = []
        self.read_direct: list[Extent] = []
        self.fails = False
        self._is_direct = direct
        self._fds: list[int] = []
        self._direct_fds: list[int] = []

    def open(self, path: Path) -> int:
        self._fds.append(super().open(path))
        return self._fds[-1]

    def open_direct(self, path: Path) -> int | None:
        fd = super().open_direct(path) if self._is_direct else None
        if fd is not None:
            self._direct_fds.append(fd)
        return fd

    def missing(self, address: int, nbytes: int) -> int:
        return nbytes

    def request(self, fd: int, start: int, nbytes: int) -> None:
        self.requested.append(Extent(self._fds.index(fd), start, nbytes))
        super().request(fd, start, nbytes)

    def populate(self, address: int, nbytes: int) -> bool:
        return not self.fails and super().populate(address, nbytes)

    def read(self, fd: int, buffer: memoryview, start: int, nbytes: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if fd in self._direct_fds:
            self.read_direct.append(Extent(self._direct_fds.index(fd), start, nbytes))
        super().read(fd, buffer, start, nbytes)


@contextmanager
def loaded(path: Path, *, stream: bool, n_ctx: int = N_CTX) -> Iterator[LlamaContext]:
    """Yield a context of the model at ``path``."""
    config = LoadConfig(n_ctx, stream_experts=stream)
    with LlamaModel(path, config) as model, LlamaContext(model, config, n_threads=1) as context:
        yield context


@contextmanager
def streaming(
    path: Path, monkeypatch: pytest.MonkeyPatch, calls: LinuxCalls | None = None
) -> Iterator[LlamaContext]:
    """Yield a context that streams on ``calls``, or on those that find nothing in memory."""
    used = calls or ColdCalls()
    monkeypatch.setattr(opening, "calls_for", lambda: used)
    with loaded(path, stream=True) as context:
        yield context


def greedy_logits(
    context: LlamaContext, tokens: int, prompt: Sequence[int] = PROMPT
) -> NDArray[np.float32]:
    """Return the logits of so many tokens after ``prompt``, each the likeliest."""
    context.prefill(prompt)
    rows = []
    for _ in range(tokens):
        logits = context.logits().copy()
        rows.append(logits)
        context.evaluate([int(logits.argmax())])
    return np.array(rows)
