"""Resolve a model's name, convert a checkpoint once, and remember the model used last."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli.running import Run
from support.waiting import output_of

from dslocal import catalog
from dslocal.catalog import conversion_cache, resolve
from dslocal.errors import NotFoundError
from dslocal.gguf.header import read_header


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and a working folder beside it."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path / "home"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of nano's folder."""
    return Path(shutil.copytree(catalog.load_registry()["nano"].folder, tmp_path / "My Model"))


def refuse(*_: object) -> None:
    """Fail: a callback that must not be called."""
    pytest.fail("nothing was to be converted")


@pytest.mark.parametrize("name", ["nano", "NANO", "Nano", None, ""])
def test_a_name(fresh: Path, name: str | None) -> None:
    found = resolve.resolve_model(name)
    assert isinstance(found, resolve.LocalCheckpoint)
    assert (found.name, found.quant) == ("nano", "Q8_0")


def test_a_name_goes_before_a_folder_of_that_name(fresh: Path) -> None:
    Path("nano").mkdir()
    assert isinstance(resolve.resolve_model("nano"), resolve.LocalCheckpoint)


def test_a_file_is_taken_as_it_is(fresh: Path, nano: Path) -> None:
    assert resolve.resolve_model(str(nano)) == nano
    assert conversion_cache.ensure_gguf(str(nano), on_progress=refuse) == nano
    assert conversion_cache.ensure_gguf(os.path.relpath(nano), on_progress=refuse).samefile(nano)
    assert not fresh.exists()


def test_a_folder_is_a_checkpoint(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = resolve.LocalCheckpoint("My Model", checkpoint, resolve.FOLDER_QUANT)
    assert resolve.resolve_model(str(checkpoint)) == expected
    monkeypatch.chdir(checkpoint)
    here = resolve.resolve_model(".")
    assert isinstance(here, resolve.LocalCheckpoint)
    assert here.name == "My Model"


@pytest.mark.parametrize(
    "name",
    ["nothing", "nano.gguf", "/no/such/folder", "\x1b[31m", "nano\0"],
)
def test_what_is_unknown_is_refused_with_what_is_known(fresh: Path, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        resolve.resolve_model(name)
    assert "nano" in caught.value.hint
    assert "checkpoint folder" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "complaint"), [("a" * 5000, "too long"), ("~nobody-at-all/x", "home directory")]
)
def test_what_is_not_a_path_is_not_found_either(fresh: Path, name: str, complaint: str) -> None:
    with pytest.raises(NotFoundError, match=complaint) as caught:
        resolve.resolve_model(name)
    assert len(str(caught.value)) < 200


def test_a_folder_that_is_not_a_checkpoint(fresh: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"config\.json"):
        resolve.resolve_model(str(tmp_path))


@pytest.mark.parametrize("name", ["deepseek-r1", "DeepSeek-R1"])
def test_a_model_that_is_not_here_says_so(fresh: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="deepseek-r1 is not on this machine") as caught:
        resolve.resolve_model(name)
    assert "dslocal " in caught.value.hint


def test_a_folder_goes_before_a_model_that_is_not_here(fresh: Path, checkpoint: Path) -> None:
    folder = Path("DeepSeek-R1").absolute()
    checkpoint.rename(folder)
    assert resolve.resolve_model("DeepSeek-R1") == resolve.LocalCheckpoint(
        "DeepSeek-R1", Path("DeepSeek-R1"), resolve.FOLDER_QUANT
    )
    resolve.remember_last_used("DeepSeek-R1")
    os.chdir("/")
    assert resolve.last_used_model() == str(folder)


def test_a_model_that_is_not_here_is_not_remembered(fresh: Path) -> None:
    resolve.remember_last_used("deepseek-r1")
    assert resolve.last_used_model() is None


def test_conversion_happens_once(home: Path, nano: Path) -> None:
    before = nano.stat()
    assert nano.is_relative_to(home / "cache")
    assert conversion_cache.ensure_gguf("nano", on_progress=refuse) == nano
    assert (nano.stat().st_ino, nano.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert read_header(nano).text("general.name") == "nano"


def test_two_processes_at_once(run: Run, tmp_path: Path) -> None:
    """Both get the file; one of them made it."""
    program = """
import os, sys, time
import dslocal.convert as converter
from dslocal.catalog import conversion_cache, resolve
calls = []
print("ready", flush=True)
sys.stdin.readline()
path = conversion_cache.ensure_gguf("nano", on_progress=calls.append)
print(bool(calls), os.stat(path).st_ino, os.stat(path).st_mtime_ns, path)
"""
    env = run.env({"DSLOCAL_HOME": str(tmp_path / "home")})
    command = [sys.executable, "-P", "-c", program]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    (first, *one), (second, *other) = (output_of(process)[0].split() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert {first, second} == {"True", "False"}
    assert one == other
    left = [path for path in Path(one[-1]).parent.iterdir() if not path.name.startswith(".")]
    assert left == [Path(one[-1])]


def test_a_changed_checkpoint_is_converted_again(fresh: Path, checkpoint: Path) -> None:
    first = conversion_cache.ensure_gguf(str(checkpoint))
    assert first.is_relative_to(fresh / "cache")
    assert read_header(first).text("general.name") == "My Model"
    (checkpoint / "notes.txt").write_text("beside the weights, and nothing to them")
    assert conversion_cache.ensure_gguf(str(checkpoint), on_progress=refuse) == first

    settings = checkpoint / "generation_config.json"
    content = settings.read_text(encoding="utf-8")
    settings.write_text(content.replace("0.6", "0.7"), encoding="utf-8")
    calls: list[object] = []
    second = conversion_cache.ensure_gguf(str(checkpoint), on_progress=calls.append)
    assert second != first
    assert calls
    assert read_header(second).metadata["general.sampling.temp"] == pytest.approx(0.7)
    assert read_header(first).metadata["general.sampling.temp"] == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["nano", "NANO"])
def test_a_name_is_remembered(fresh: Path, name: str) -> None:
    assert resolve.last_used_model() is None
    resolve.remember_last_used(name)
    assert resolve.last_used_model() == name
    assert isinstance(resolve.resolve_model(None), resolve.LocalCheckpoint)


@pytest.mark.parametrize(
    ("spelled", "kept_as"),
    [
        ("nano@q8_0", "nano"),
        ("nano:latest", "nano"),
        ("ollama:nano", "nano"),
        ("R1", "R1"),
        ("r1@q4_k_m", "r1:Q4_K_M"),
        ("r1:q4_k_m", "r1:q4_k_m"),
    ],
)
def test_another_spelling_is_remembered_as_our_name(
    fresh: Path, spelled: str, kept_as: str
) -> None:
    kept(Path("r1.gguf"))
    expected = resolve.resolve_model(spelled)
    resolve.remember_last_used(spelled)
    assert resolve.last_used_model() == kept_as
    assert resolve.resolve_model(None) == expected


def test_a_path_is_remembered_wherever_one_is(fresh: Path, nano: Path) -> None:
    copy = Path("my.gguf")
    copy.symlink_to(nano)
    path = copy.absolute()
    resolve.remember_last_used("my.gguf")
    os.chdir("/")
    assert resolve.resolve_model(None) == path  # the link: its name says that it is a part


def test_what_is_gone_is_forgotten(fresh: Path, nano: Path) -> None:
    copy = Path("my.gguf").absolute()
    os.link(nano, copy)
    resolve.remember_last_used(str(copy))
    assert resolve.resolve_model(None) == copy
    copy.unlink()
    assert resolve.last_used_model() is None
    assert isinstance(resolve.resolve_model(None), resolve.LocalCheckpoint)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"model": 3}', '{"model": null}', '{"model": "gone"}', "\udcff"],
)
def test_a_damaged_memory_counts_as_empty(fresh: Path, content: str) -> None:
    (fresh / "state").mkdir(parents=True)
    (fresh / "state" / "last-model.json").write_text(
        content, encoding="utf-8", errors="surrogateescape"
    )
    assert resolve.last_used_model() is None


def kept(
    path: Path, name: str = "r1", quant: str = "Q4_K_M", added: float = 1.0
) -> catalog.InstalledModel:
    """An entry of the inventory; its file is made when it is not there."""
    path = path.absolute()
    path.touch()
    entry = catalog.InstalledModel(name, quant, path, (path,), 1, "imported", str(path), added)
    catalog.add_installed(entry)
    return entry


KEPT = [
    ("r1", "r1-new.gguf"),  # the one added last
    ("R1", "r1-new.gguf"),
    ("r1:Q8_0", "r1-new.gguf"),
    ("r1:q4_k_m", "r1-old.gguf"),
    ("deepseek-v3", "v3.gguf"),  # also a name of models.yaml, which is here by now
    ("DeepSeek-V3:Q2_K", "v3.gguf"),
    ("nano:Q4_K_M", "nano.gguf"),
]


@pytest.mark.parametrize(("name", "file"), KEPT)
def test_a_kept_model_is_found_by_name(fresh: Path, name: str, file: str) -> None:
    kept(Path("r1-old.gguf"), added=1.0)
    kept(Path("r1-new.gguf"), quant="Q8_0", added=2.0)
    kept(Path("v3.gguf"), "deepseek-v3", "Q2_K")
    kept(Path("nano.gguf"), "nano", "Q4_K_M")
    assert resolve.resolve_model(name) == Path(file).absolute()
    assert conversion_cache.ensure_gguf(name, on_progress=refuse) == Path(file).absolute()
    assert isinstance(
        resolve.resolve_model("nano"), resolve.LocalCheckpoint
    )  # what ships goes before


@pytest.mark.parametrize("name", ["nano:Q8_0", "NANO:q8_0"])
def test_what_ships_has_a_quantization_too(fresh: Path, name: str) -> None:
    assert resolve.resolve_model(name) == resolve.resolve_model("nano")


@pytest.mark.parametrize("name", ["nano:", "nano:Q2_K", "r1:Q8_0", "r1:", ":Q4_K_M", "r1:Q4_K_M:x"])
def test_another_quantization_is_not_found(fresh: Path, name: str) -> None:
    kept(Path("r1.gguf"))
    with pytest.raises(NotFoundError, match=r"no model or file|nano ships as Q8_0") as caught:
        resolve.resolve_model(name)
    assert re.search("nano, r1:Q4_K_M|dslocal convert nano", caught.value.hint)


def test_a_kept_name_goes_before_a_file_and_a_folder_of_that_name(
    fresh: Path, checkpoint: Path
) -> None:
    entry = kept(Path("elsewhere.gguf"))
    Path("r1").touch()
    assert resolve.resolve_model("r1") == entry.path
    assert resolve.resolve_model("./r1") == Path("r1")
    assert resolve.resolve_model("r1:Q4_K_M") == entry.path
    Path("r1").unlink()
    checkpoint.rename(Path("r1").absolute())
    assert resolve.resolve_model("r1") == entry.path
    assert isinstance(resolve.resolve_model("./r1"), resolve.LocalCheckpoint)


def test_a_kept_model_whose_file_is_gone(fresh: Path, nano: Path) -> None:
    """Nothing else of that name is taken for it, and what was used last is not it any more."""
    entry = kept(Path("r1.gguf"))
    resolve.remember_last_used("r1")
    entry.path.unlink()
    Path("r1").symlink_to(nano)
    with pytest.raises(NotFoundError, match=f"r1:Q4_K_M: {entry.path} no longer exists") as caught:
        resolve.resolve_model("r1")
    assert "dslocal rm r1:Q4_K_M" in caught.value.hint
    Path("r1").unlink()
    assert resolve.last_used_model() is None
    assert isinstance(resolve.resolve_model(None), resolve.LocalCheckpoint)


@pytest.mark.parametrize("name", ["r1", "R1", "r1:Q4_K_M"])
def test_a_kept_name_is_remembered_as_a_name(fresh: Path, name: str) -> None:
    entry = kept(Path("r1.gguf"))
    Path(name).touch()
    resolve.remember_last_used(name)
    os.chdir("/")
    assert resolve.last_used_model() == name
    assert resolve.resolve_model(None) == entry.path
    catalog.remove_installed(entry)
    assert resolve.last_used_model() is None


def test_the_hint_has_room_for_so_many_names(fresh: Path) -> None:
    for i in range(resolve.MAX_LISTED + 5):
        kept(Path("some.gguf"), f"model-{i:02}")
    with pytest.raises(NotFoundError) as caught:
        resolve.resolve_model("nothing")
    assert "nano, model-00:Q4_K_M" in caught.value.hint
    assert "and 6 more, which dslocal models lists" in caught.value.hint


def test_conversions_are_listed_by_what_they_are_of(fresh: Path, checkpoint: Path) -> None:
    assert conversion_cache.cached_conversions() == []
    out = conversion_cache.ensure_gguf(str(checkpoint))
    (out.parent / "other.gguf").touch()
    (out.parent / f"{out.name}.part").touch()
    assert conversion_cache.cached_conversions() == [
        conversion_cache.CachedConversion("My Model", "Q4_K_M", out, out.stat().st_size)
    ]


def test_a_home_that_cannot_be_written_to_remembers_nothing(fresh: Path) -> None:
    fresh.write_text("a file in its place")
    resolve.remember_last_used("nano")
    assert resolve.last_used_model() is None


def test_remembering_leaves_one_file(fresh: Path) -> None:
    began = time.time() - 1  # a file's time may be rounded
    for _ in range(3):
        resolve.remember_last_used("nano")
    assert [path.name for path in (fresh / "state").iterdir()] == ["last-model.json"]
    assert (fresh / "state" / "last-model.json").stat().st_mtime >= began


def test_a_file_is_called_by_its_own_name(fresh: Path, home: Path, nano: Path) -> None:
    """The name in its header is that of every file made from the same model."""
    copy = Path("mine-Q4_0.gguf").absolute()
    copy.symlink_to(nano)
    assert conversion_cache.display_name(copy) == "mine-Q4_0"
    entry = kept(Path("other.gguf"))
    assert conversion_cache.display_name(entry.path) == "r1:Q4_K_M"
    assert conversion_cache.display_name(Path("m-00001-of-00003.gguf")) == "m"


def test_conversions_that_cannot_be_used_any_more_are_removed(fresh: Path) -> None:
    folder = fresh / "cache" / "converted"
    folder.mkdir(parents=True)
    kept_names = {"nano-Q4_K_M-0123456789ab.gguf", "other-Q8_0-0123456789ab.gguf", "mine.gguf"}
    for name in ("nano-Q8_0-0123456789ab.gguf", "nano-Q8_0-ba9876543210.gguf", *kept_names):
        (folder / name).touch()
    made = conversion_cache.ensure_gguf("nano")
    assert {file.name for file in folder.glob("*.gguf")} == {made.name, *kept_names}
