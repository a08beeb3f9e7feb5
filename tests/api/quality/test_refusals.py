"""What ``dslocal.quality`` refuses, before it evaluates or writes anything."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.evaluation.quality_calls import QualityCall

from dslocal.errors import DslocalError, EngineError, NotFoundError, UsageError
from dslocal.home.paths import quality_dir


def test_another_vocabulary_is_refused_before_anything_is_evaluated(
    dense: list[Path], call: QualityCall, nano: Path
) -> None:
    with pytest.raises(UsageError, match=r"nano.*4,096.*dense-F16"):
        call(nano, dense[0])
    assert call.chunks == []
    assert not quality_dir().exists()


def test_a_vocabulary_of_the_same_size_is_refused(
    dense: list[Path], call: QualityCall, tmp_path: Path
) -> None:
    reference, model = dense
    content = model.read_bytes()
    other = tmp_path / "other.gguf"
    at = content.index(b"tokenizer.ggml.tokens")
    one = next(i for i in range(at + 60, len(content)) if content[i : i + 1].isalpha())
    other.write_bytes(content[:one] + b"~" + content[one + 1 :])
    with pytest.raises(UsageError, match="its vocabulary differs from that of"):
        call(other, reference)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"n_ctx": 4}, UsageError, "--ctx"),
        ({"n_ctx": 1 << 20}, UsageError, "--ctx"),
        ({"n_ctx": 2048, "tokens": 1, "text": ["short.txt"]}, UsageError, "tokens"),
        ({"text": ["no-such.txt"]}, NotFoundError, "no-such"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(
    dense: list[Path],
    call: QualityCall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    error: type[DslocalError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("short")
    reference, model = dense
    with pytest.raises(error, match=message):
        call(model, reference, **changed)
    assert call.chunks == []


def test_a_disk_without_room_is_refused_before_anything_is_written(
    dense: list[Path], call: QualityCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    reference, model = dense
    with pytest.raises(DslocalError, match="free"):
        call(model, reference)
    assert list(quality_dir().iterdir()) == []


def test_logits_that_are_not_numbers_are_an_error(
    dense: list[Path], call: QualityCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dslocal.evaluation.divergence.log_probabilities import RowWorker

    score = RowWorker.score

    def poisoned(self: RowWorker, logits: Any, *more: Any) -> Any:
        return score(self, np.full_like(logits, np.nan), *more)

    reference, model = dense
    call(reference, reference)
    monkeypatch.setattr(RowWorker, "score", poisoned)
    with pytest.raises(EngineError, match="not numbers"):
        call(model, reference)


@pytest.fixture
def nano(first_home: Path) -> Path:
    return next((first_home / "cache" / "converted").glob("nano*.gguf"))
