"""Prove that a conversion from Python writes the bytes of the command, and refuses the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run

import dslocal

NANO = "nano"


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    """Use the tests' own folders."""


def test_the_bytes_of_the_command(run: Run, tmp_path: Path) -> None:
    steps: list[float] = []
    (report,) = dslocal.convert(
        NANO,
        tmp_path / "api.gguf",
        quant="Q4_0",
        on_progress=lambda step: steps.append(step.done / step.total),
    )
    assert report.path == tmp_path / "api.gguf"
    assert (steps == sorted(steps), steps[-1]) == (True, 1.0)
    done = run("convert", NANO, "-o", tmp_path / "cli.gguf", "--quant", "Q4_0")
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "api.gguf") == digest(tmp_path / "cli.gguf")


def test_several_from_one_read(tmp_path: Path) -> None:
    reports = dslocal.convert(NANO, tmp_path, quant=["Q8_0", "Q4_0"])
    assert [Path(report.path).name for report in reports] == ["nano-Q8_0.gguf", "nano-Q4_0.gguf"]


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "source": ({"source": "no-such-model"}, dslocal.NotFoundError, "no-such-model"),
    "quant": ({"quant": "Q9_9"}, dslocal.UsageError, "Q9_9"),
    "twice": ({"quant": ["Q8_0", "Q8_0"]}, dslocal.UsageError, "a quantization is given twice"),
    "two ways": ({"quant": "Q8_0", "size": "1GB"}, dslocal.UsageError, "cannot be combined"),
    "size": ({"size": "large"}, dslocal.UsageError, "is not a size"),
    "folder": ({"output": "/nowhere/x.gguf"}, dslocal.NotFoundError, "no such folder"),
}


@pytest.mark.parametrize(("options", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named(
    tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        dslocal.convert(**{"source": NANO, "output": tmp_path / "x.gguf", **options})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_text("mine")
    with pytest.raises(dslocal.UsageError, match="exists already"):
        dslocal.convert(NANO, file, quant="Q4_0")
    assert file.read_text() == "mine"
    dslocal.convert(NANO, file, quant="Q4_0", overwrite=True)
    assert file.read_bytes()[:4] == b"GGUF"
