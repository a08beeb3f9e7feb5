"""Say what is wrong with a GGUF file in show, fit and on first use; never make it the default."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.cli.running import Run
from support.gguf.gguf_changes import I32, Change, Parts, parts_of, put

from dslocal.gguf.header import read_header

PRE = "tokenizer.ggml.pre"
TYPES = "tokenizer.ggml.token_type"


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A home of its own, in which nano is converted already."""
    shutil.copytree(run.home / "cache", tmp_path / "home" / "cache")
    return Run(tmp_path / "home")


def other_type(token: str, kind: int) -> Change:
    """Give one token another type."""

    def do(parts: Parts) -> None:
        data = bytearray(parts.metadata[TYPES][1])
        number = VOCABULARY.index(token)
        data[12 + 4 * number : 16 + 4 * number] = kind.to_bytes(4, "little")
        parts.metadata[TYPES] = (parts.metadata[TYPES][0], bytes(data))

    return do


VOCABULARY: list[str] = []


@pytest.fixture(autouse=True)
def _vocabulary(nano: Path) -> None:
    VOCABULARY[:] = read_header(nano).tokens()


# A change, and what is said of it; files that can be used all the same.
USABLE = {
    "no pre-tokenizer": (put(PRE, None), "names no pre-tokenizer (tokenizer.ggml.pre)"),
    "the default pre-tokenizer": (put(PRE, "default"), "is 'default', which no DeepSeek model has"),
    "another model's pre-tokenizer": (put(PRE, "gpt-2"), "is 'gpt-2', which no DeepSeek model has"),
}
# Files that cannot be used.
UNUSABLE = {
    "all tokens ordinary": (put(TYPES, None), "no special token <｜begin▁of▁sentence｜>"),
    "the first token ordinary": (
        other_type("<｜begin▁of▁sentence｜>", 1),
        "no special token <｜begin▁of▁sentence｜>",
    ),
    "the turns ordinary": (other_type("<｜User｜>", 1), "no special token <｜User｜>"),
    "the answer's token ordinary": (other_type("<｜Assistant｜>", 1), "<｜Assistant｜>"),
}
SAID_BY_SHOW = {
    **USABLE,
    **UNUSABLE,
    "fewer types": (put(TYPES, [1, 3, 3], I32), "3 entries in tokenizer.ggml.token_type"),
    "an end that is not a token": (put("tokenizer.ggml.eos_token_id", 999_999), "eos_token_id is"),
    "a begin that is not a token": (put("tokenizer.ggml.bos_token_id", 999_999), "bos_token_id is"),
    "another size": (put("deepseek2.vocab_size", 7), "and says 7 (vocab_size)"),
}


def changed(nano: Path, folder: Path, change: Change) -> Path:
    """Return a copy of nano with a change."""
    parts = parts_of(nano)
    change(parts)
    return parts.write(folder / "odd.gguf")


@pytest.mark.parametrize("name", SAID_BY_SHOW)
def test_show_says_it(run: Run, nano: Path, tmp_path: Path, name: str) -> None:
    change, said = SAID_BY_SHOW[name]
    file = changed(nano, tmp_path, change)
    done = run.inside("show", file)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout.decode()
    faults = json.loads(run.inside("show", file, "--json").stdout)["faults"]
    assert any(said in fault for fault in faults)


@pytest.mark.parametrize("name", ["no pre-tokenizer", "another model's pre-tokenizer"])
def test_fit_and_the_first_use_say_it_once(own: Run, nano: Path, tmp_path: Path, name: str) -> None:
    change, said = USABLE[name]
    file = changed(nano, tmp_path, change)
    planned = own.inside("fit", file).stderr.decode()
    assert said in planned
    assert planned.startswith(f"dslocal: {file.name}: ")
    first, second = (own.inside("ask", "-m", file, "hello") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert said in first.stderr.decode()
    assert said not in second.stderr.decode()


def test_a_sound_file_has_none(run: Run, nano: Path) -> None:
    assert json.loads(run.inside("show", nano, "--json").stdout)["faults"] == []
    assert run.inside("fit", nano).stderr == b""


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_prompted_is_refused_and_not_remembered(
    own: Run, nano: Path, tmp_path: Path, name: str
) -> None:
    change, said = UNUSABLE[name]
    file = changed(nano, tmp_path, change)
    first = own.inside("ask", "-m", file, "hello")
    assert (first.returncode, first.stdout) == (1, b"")
    assert said in first.stderr.decode()
    later = own.inside("ask", "--final", "What is 2+2?")
    assert (later.returncode, later.stdout) == (0, b"4\n"), later.stderr


# What is named, and fails before an answer: none of it becomes the default.
FAILS = {
    "no such file": ["-m", "nothing.gguf", "x"],
    "no such model": ["-m", "deepseek-r1:7b", "x"],
    "no context that large": ["-m", "FILE", "--ctx", "999999", "x"],
    "no drafts": ["-m", "FILE", "--mtp", "nothing.gguf", "x"],
    "a dry run": ["-m", "FILE", "--dry-run", "x"],
    "another family": ["-m", "FILE", "--family", "nothing", "x"],
    "a bad schema": ["-m", "FILE", "--schema", "nothing.json", "x"],
    "an option twice": ["-m", "FILE", "-m", "FILE", "x"],
}


@pytest.mark.parametrize("name", FAILS)
def test_what_fails_is_not_remembered(own: Run, nano: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.gguf"
    file.symlink_to(nano)
    args = [str(file) if arg == "FILE" else arg for arg in FAILS[name]]
    own.inside("ask", *args)
    assert not (own.home / "state" / "last-model.json").exists()


def test_a_default_that_is_gone_is_said(own: Run, nano: Path, tmp_path: Path) -> None:
    file = tmp_path / "z.gguf"
    file.symlink_to(nano)
    assert own.inside("ask", "-m", file, "hello").returncode == 0
    file.unlink()
    for args in (["ask", "hello"], ["show"]):
        done = own.inside(*args)
        assert done.returncode == 0
        assert (
            f"the model used last, {file}, no longer exists: nano is used" in done.stderr.decode()
        )
    quiet = own.inside("ask", "-m", "nano", "hello")
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    assert own.inside("ask", "hello").stderr == b""


def test_a_part_in_a_cache_is_remembered_by_its_name(own: Run, nano: Path, tmp_path: Path) -> None:
    """A cache's blobs are called by their hashes, which do not say which part they are."""
    blob = tmp_path / "blobs" / ("0" * 64)
    blob.parent.mkdir()
    shutil.copy(nano, blob)
    link = tmp_path / "snapshot" / "nano-Q8_0.gguf"
    link.parent.mkdir()
    link.symlink_to(f"../blobs/{blob.name}")
    assert own.inside("ask", "-m", link, "hello").returncode == 0
    assert json.loads((own.home / "state" / "last-model.json").read_text())["model"] == str(link)
