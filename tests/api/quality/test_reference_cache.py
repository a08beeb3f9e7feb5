"""The evaluated reference of ``dslocal.quality`` is kept, resumed, mended and shared."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_models import CHUNK, TEXT
from support.cli.running import python
from support.evaluation.quality_calls import CHUNKS, QualityCall, kept

from dslocal.api.quality import measure
from dslocal.errors import DslocalError, UsageError
from dslocal.evaluation.divergence.reference_file import open_reference
from dslocal.home.paths import quality_dir


def test_the_reference_is_evaluated_once(dense: list[Path], call: QualityCall) -> None:
    reference, model = dense
    first = call(model, reference)
    assert call.evaluated == {"reference": CHUNKS, "model": CHUNKS}
    assert [str(kept(".kld")) in notice for notice in call.notices] == [True]
    call(reference, reference)
    assert call.evaluated == {"reference": 0, "model": CHUNKS}
    assert call(model, reference) == first
    assert call.evaluated == {"reference": 0, "model": 0}
    assert call.notices == []


@pytest.mark.parametrize(
    "changed", [{"n_ctx": 32}, {"tokens": 5 * CHUNK}, {"text": ["other.txt"]}], ids=str
)
def test_another_text_or_protocol_is_another_reference(
    dense: list[Path], call: QualityCall, tmp_path: Path, changed: dict[str, Any]
) -> None:
    reference, model = dense
    call(model, reference)
    if "text" in changed:
        (tmp_path / "other.txt").write_text(TEXT[::-1])
        changed = {"text": [tmp_path / "other.txt"]}
    call(model, reference, **changed)
    assert call.evaluated["reference"] > 0
    assert len(list(quality_dir().glob("*.kld"))) == 2


@pytest.mark.parametrize("stop_at", [("reference", 5), ("dense", 7)])
def test_an_interrupted_run_is_resumed(
    dense: list[Path],
    call: QualityCall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: tuple[str, int],
) -> None:
    monkeypatch.setattr(measure, "SAVE_S", 0.0)
    reference, model = dense
    with pytest.raises(KeyboardInterrupt):
        call(model, reference, stop_at=stop_at)
    found = call(model, reference)
    done = {"reference": CHUNKS, "model": CHUNKS}
    if stop_at[0] == "reference":
        done["reference"] -= 5
    else:
        done = {"reference": 0, "model": CHUNKS - 7}
    assert call.evaluated == done
    resumed = kept(".kld").read_bytes()
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "other-home"))
    assert call(model, reference) == found
    assert kept(".kld").read_bytes() == resumed


KILLED = """
import os, signal, sys
import dslocal
from dslocal.api.quality import measure
measure.SAVE_S = 0.0
model, reference, text, stop, after = sys.argv[1:]
def on_progress(what, done, of):
    if what.startswith(stop) and done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
dslocal.quality(model, reference=reference, text=[text], n_ctx=64, on_progress=on_progress)
"""


@pytest.mark.parametrize("stop_at", [("reference", 5), ("dense", 7)])
def test_a_killed_run_is_resumed(
    dense: list[Path], call: QualityCall, tmp_path: Path, stop_at: tuple[str, int]
) -> None:
    reference, model = dense
    arguments = [str(model), str(reference), str(call.text), stop_at[0], str(stop_at[1])]
    done = python(KILLED, *arguments, env={"DSLOCAL_HOME": str(tmp_path / "home")})
    assert done.returncode == -signal.SIGKILL
    call(model, reference)
    expected = {"reference": CHUNKS - 5, "model": CHUNKS}
    if stop_at[0] != "reference":
        expected = {"reference": 0, "model": CHUNKS - 7}
    assert call.evaluated == expected
    assert list(quality_dir().glob("*.part")) == []


def test_a_damaged_chunk_is_evaluated_again(dense: list[Path], call: QualityCall) -> None:
    reference, model = dense
    found = call(model, reference)
    whole = kept(".kld").read_bytes()
    with open_reference(kept(".kld")) as file:
        at = file.shape.data_start + 3 * file.shape.rows * file.shape.row_bytes
    kept(".kld").write_bytes(whole[:at] + b"\1\2\3\4" + whole[at + 4 :])
    kept(".scores").write_bytes(b"damaged")
    assert call(model, reference) == found
    assert call.evaluated == {"reference": 1, "model": CHUNKS}
    assert kept(".kld").read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"nonsense", b"_logits_" + b"\xff" * 100])
def test_a_cache_that_cannot_be_read_is_replaced(
    dense: list[Path], call: QualityCall, content: bytes
) -> None:
    reference, model = dense
    found = call(model, reference)
    kept(".kld").write_bytes(content)
    assert call(model, reference) == found
    assert call.evaluated["reference"] == CHUNKS


def test_a_file_without_a_seal_is_a_reference(
    dense: list[Path], call: QualityCall, tmp_path: Path
) -> None:
    reference, model = dense
    found = call(model, reference)
    with open_reference(kept(".kld")) as file:
        rows_end = file.shape.seal_start
    base = tmp_path / "base.kld"
    base.write_bytes(kept(".kld").read_bytes()[:rows_end])
    assert call(model, base) == found
    assert call.evaluated == {"reference": 0, "model": CHUNKS}
    base.write_bytes(base.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"base\.kld"):
        call(model, base)


def test_a_reference_that_another_process_writes_is_not_touched(
    dense: list[Path], call: QualityCall
) -> None:
    reference, model = dense
    with pytest.raises(KeyboardInterrupt):
        call(model, reference, stop_at=("reference", 2))
    before = kept(".part").read_bytes()
    with (
        open_reference(kept(".part"), writable=True),
        pytest.raises(DslocalError, match="another"),
    ):
        call(model, reference)
    assert kept(".part").read_bytes() == before
