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
    """Says of every piece that it is not in memory, and records what is requested.

    Attributes:
        requested: The pieces in order, by the number of their file.
        fails: Whether the disk fails from now on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested: list[Extent] = []
        self.fails = False
        self._fds: list[int] = []

    def open(self, path: Path) -> int:
        self._fds.append(super().open(path))
        return self._fds[-1]

    def missing(self, address: int, nbytes: int) -> int:
        return nbytes

    def request(self, fd: int, start: int, nbytes: int) -> None:
        self.requested.append(Extent(self._fds.index(fd), start, nbytes))
        super().request(fd, start, nbytes)

    def populate(self, address: int, nbytes: int) -> bool:
        return not self.fails and super().populate(address, nbytes)

    def read(self, fd: int, buffer: bytearray, start: int, nbytes: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
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
