"""Proves that files over which llama.cpp would abort the process, or which it refuses without a
message, give one clear error.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.errors import DslocalError, EngineError, GgufError


def test_a_vocabulary_that_spells_two_tokens_alike(nano: Path, tmp_path: Path) -> None:
    data = nano.read_bytes()
    hole, begin = "<｜fim▁hole｜>".encode(), "<｜fim▁begin｜>".encode()
    path = tmp_path / "twice.gguf"
    # same length, so that nothing else moves: the second of two ordinary tokens takes the first
    # one's spelling
    one, other = (len(text).to_bytes(8, "little") + text for text in (b"ab", b"ac"))
    assert data.count(one) == data.count(other) == 1
    assert hole in data
    assert begin in data
    path.write_bytes(data.replace(other, one))
    with pytest.raises(GgufError, match=r"twice\.gguf.*'ab' twice"):
        LlamaModel(path, vocab_only=True)


def test_an_architecture_that_llama_cpp_does_not_know(nano: Path, tmp_path: Path) -> None:
    path = tmp_path / "unknown.gguf"
    path.write_bytes(nano.read_bytes().replace(b"deepseek2", b"deepseek9"))
    with pytest.raises(EngineError, match=r"unknown\.gguf.*deepseek9"):
        LlamaModel(path)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -1000])
def test_a_file_that_is_cut_off(nano: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(nano.read_bytes()[:keep])
    with pytest.raises(DslocalError, match=r"cut\.gguf"):
        LlamaModel(path)


@contextlib.contextmanager
def memory_left(nbytes: int) -> Iterator[None]:
    """Let this process have so much more memory, where the system can hold it to that."""
    used = Path("/proc/self/statm")
    if not used.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(used.read_text().split()[0]) * resource.getpagesize() + nbytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_context_that_no_memory_holds(nano: Path) -> None:
    with (
        LlamaModel(nano) as model,
        memory_left(1 << 30),
        pytest.raises(EngineError, match="no context of"),
    ):
        LlamaContext(model, 1 << 31)
