"""Proves that a long command finds that its result cannot be written before its work begins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli.running import Run

from dslocal.api.arguments.writable import require_writable
from dslocal.cli import session_setup
from dslocal.terminal.reports import bench_report, quality_report

LOCKED = Path("/sys/kernel")  # nobody can make a file here, the root user neither

COMMANDS = {
    "imatrix": ["imatrix", "nano", "-o", f"{LOCKED}/x.gguf"],
    "quality": ["quality", "nano", "--reference", "nano", "-o", f"{LOCKED}/x.kld"],
    "quality, plot": ["quality", "nano", "--reference", "nano", "--plot", f"{LOCKED}/x.svg"],
    "eval": ["eval", "q.jsonl", "-m", "nano", "--out", f"{LOCKED}/x.jsonl"],
    "bench, plot": ["bench", "nano", "--plot", f"{LOCKED}/x.png"],
    "quantize": ["quantize", "nano", "-o", f"{LOCKED}/x.gguf"],
    "quantize, auto": ["quantize", "nano", "--imatrix", "auto", "-o", f"{LOCKED}/x.gguf"],
    "convert": ["convert", "nano", "-o", f"{LOCKED}/x.gguf"],
    "convert, auto": ["convert", "nano", "--imatrix", "auto", "-o", f"{LOCKED}/x.gguf"],
}


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be found, loaded or opened: that is where the work begins."""

    def begin(*_: object, **__: object) -> None:
        pytest.fail("the work was started")

    monkeypatch.setattr(session_setup, "prepare_model", begin)
    monkeypatch.setattr(session_setup, "prepare_chosen_model", begin)
    monkeypatch.setattr("dslocal.convert.open_gguf", begin)
    monkeypatch.setattr("dslocal.api.checkpoint_source.opened", begin)
    monkeypatch.setattr(session_setup, "continue_in_child", lambda: None)
    monkeypatch.setattr(bench_report, "require_plotting", lambda: None)
    monkeypatch.setattr(quality_report, "require_plotting", lambda: None)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("at_work")
def test_the_place_is_tried_first(run: Run, nano: Path, command: list[str]) -> None:
    (run.home / "q.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": 2}))
    named = [str(nano) if each == "nano" and "quantize" in command else each for each in command]
    done = run.inside(*named)
    assert done.returncode in (1, 5), done.stderr
    assert str(LOCKED).encode() in done.stderr
    assert b"Permission denied" in done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr


def test_nothing_is_made_where_a_result_may_be_written(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"x")
    for path in (kept, tmp_path / "new"):
        require_writable(path)
        require_writable(path, is_replaced=True)
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    assert kept.read_bytes() == b"x"
