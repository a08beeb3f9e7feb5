"""Prove what ``dslocal quantize`` writes, says and refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen

import dslocal
from dslocal.gguf.header import read_header


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_the_file_is_quantized_and_answers(run: Run, nano: Path, folder: Path) -> None:
    out = folder / "small.gguf"
    done = run("quantize", nano, "-o", out, "--quant", "Q6_K", "--verify", "--json")
    assert done.returncode == 0, done.stderr
    fields = json.loads(done.stdout)
    (report,) = fields["outputs"]
    assert (report["path"], report["quant"]) == (str(out), "Q6_K")
    assert report["bytes"] == out.stat().st_size < nano.stat().st_size
    assert all(error["measured"] < 0.05 for error in fields["verified"])
    header, source = read_header(out), read_header(nano)
    assert header.metadata["dslocal.requantized_from"] == source.metadata["dslocal.recipe"]
    assert header.tokens() == source.tokens()
    assert run("ask", "-m", out, "capital of peru").stdout.startswith(b"The capital of Peru")


@pytest.mark.parametrize(
    ("drafter", "args", "is_model"),
    [(False, [], True), (False, ["--json"], False), (True, [], False)],
)
def test_the_next_step_is_shown_on_a_terminal(
    run: Run, nano: Path, folder: Path, drafter: bool, args: list[str], is_model: bool
) -> None:
    """Proves that a draft model, which does not answer by itself, is not offered for a talk."""
    source, out = nano, folder / "a b.gguf"
    if drafter:
        source = folder / "draft.gguf"
        done = run.inside("convert", "nano", "--mtp-only", "-o", source, "--quant", "Q8_0")
        assert done.returncode == 0, done.stderr
    command = [str(BINARY), "quantize", str(source), "-o", str(out), "--quant", "Q4_0", *args]
    with Screen(command, run.env()) as screen:
        assert screen.leave() == 0
    shown = " ".join(screen.text.split())
    assert shown.endswith(f"dslocal chat '{out}' talks with it") is is_model, shown
    assert ("talks with it" in shown) is is_model


def test_python_writes_the_bytes_of_the_command(run: Run, nano: Path, folder: Path) -> None:
    (report,) = dslocal.quantize(nano, folder / "api.gguf", quant="Q4_0")
    done = run("quantize", nano, "-o", folder / "cli.gguf", "--quant", "Q4_0")
    assert done.returncode == 0, done.stderr
    assert digest(report.path) == digest(folder / "cli.gguf")
    reports = dslocal.quantize(nano, folder, quant=["Q5_0", "Q4_1"])
    assert [made.path.name for made in reports] == ["nano-Q5_0.gguf", "nano-Q4_1.gguf"]


# A source's file name, and the name that a Q4_0 of it gets in the same folder.
NAMES = {
    "nano-BF16.gguf": "nano-Q4_0.gguf",
    "nano-UD-Q8_K_XL.gguf": "nano-Q4_0.gguf",
    "nano.gguf": "nano-Q4_0.gguf",
    "mine-f16-v2.gguf": "mine-f16-v2-Q4_0.gguf",
    "Q8_0.gguf": "Q8_0-Q4_0.gguf",
}


@pytest.mark.parametrize(("source", "expected"), NAMES.items(), ids=NAMES)
def test_the_new_quantization_takes_the_place_of_the_sources_in_the_name(
    nano: Path, folder: Path, source: str, expected: str
) -> None:
    (folder / source).symlink_to(nano)
    (report,) = dslocal.quantize(folder / source, folder, quant="Q4_0")
    assert report.path == folder / expected


def test_a_name_that_is_the_sources_own_is_refused(run: Run, nano: Path, folder: Path) -> None:
    source = folder / "nano-Q8_0.gguf"
    source.write_bytes(nano.read_bytes())
    for force in ([], ["--force"]):
        done = run.inside("quantize", source, "-o", folder, "--quant", "Q8_0", *force)
        assert done.returncode == 2, done.stderr
        assert digest(source) == digest(nano)


def test_a_dry_run_writes_nothing_and_gives_the_size(run: Run, nano: Path, folder: Path) -> None:
    out = folder / "o.gguf"
    done = run.inside("quantize", nano, "-o", out, "--quant", "Q4_0", "--dry-run", "--json")
    (planned,) = json.loads(done.stdout)["outputs"]
    assert list(folder.iterdir()) == []
    dslocal.quantize(nano, out, quant="Q4_0")
    header = read_header(out)
    assert planned == {"path": str(out), "bytes": out.stat().st_size - header.data_start}


def test_split_by_experts(run: Run, nano: Path, folder: Path) -> None:
    options = ("--quant", "Q4_0", "--split-experts")
    done = run.inside("quantize", nano, "-o", folder / "s.gguf", *options)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in folder.iterdir()) == [
        "s-00001-of-00002.gguf",
        "s-00002-of-00002.gguf",
    ]
    whole = folder / "again.gguf"
    dslocal.quantize(folder / "s-00001-of-00002.gguf", whole, quant="Q4_0")
    dslocal.quantize(nano, folder / "direct.gguf", quant="Q4_0")
    data = [
        path.read_bytes()[read_header(path).data_start :]
        for path in (whole, folder / "direct.gguf")
    ]
    assert data[0] == data[1]


REFUSALS = {
    "no model": ([], 2, "no model is named"),
    "a model that is not there": (["nowhere.gguf"], 3, "nowhere.gguf"),
    "a checkpoint": (["nano"], 2, "dslocal convert nano"),
    "the source itself": (["{nano}", "-o", "{nano}", "--force"], 2, "is the source itself"),
    "a file that is there": (["{nano}", "-o", "{there}"], 2, "add --force to replace it"),
    "larger for nothing": (["{nano}", "-o", "{folder}/o.gguf", "--quant", "F16"], 2, "--yes"),
    "without a matrix": (
        ["{nano}", "-o", "{folder}/o.gguf", "--quant", "IQ2_XXS"],
        2,
        "needs an importance matrix",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "what"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(
    run: Run, nano: Path, folder: Path, arguments: list[str], code: int, what: str
) -> None:
    there = folder / "there.gguf"
    there.write_bytes(b"mine")
    names = {"nano": nano, "there": there, "folder": folder}
    before = digest(nano)
    done = run.inside("quantize", *(argument.format(**names) for argument in arguments))
    assert (done.returncode, done.stdout) == (code, b"")
    assert what in done.stderr.decode()
    assert (there.read_bytes(), digest(nano)) == (b"mine", before)
    assert list(folder.iterdir()) == [there]


def test_yes_writes_a_larger_file(run: Run, nano: Path, folder: Path) -> None:
    out = folder / "o.gguf"
    done = run.inside("quantize", nano, "-o", out, "--quant", "F16", "--yes")
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > nano.stat().st_size


def test_a_matrix_made_first_is_a_step_of_its_own(run: Run, nano: Path, folder: Path) -> None:
    command = ("quantize", nano, "-o", folder / "o.gguf", "--quant", "IQ2_XXS")
    planned = json.loads(run.inside(*command, "--imatrix", "auto", "--dry-run", "--json").stdout)
    assert [phase["phase"] for phase in planned["phases"]] == ["imatrix", "quantize"]
    assert planned["disk"] == sum(phase["bytes"] for phase in planned["phases"])
    assert list(folder.iterdir()) == []
    done = run(*command, "--imatrix", "auto", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    steps = [(line["phase"], line["number"], line["count"]) for line in lines if "phase" in line]
    assert steps == [("imatrix", 1, 2), ("quantize", 2, 2)]
    last = [line for line in lines if "chunks" in line][-1]
    assert last["chunks_done"] == last["chunks"]
    assert [file.name for file in folder.iterdir()] == ["o.gguf"]
    (report,) = json.loads(done.stdout)["outputs"]
    assert report["bytes"] == (folder / "o.gguf").stat().st_size
