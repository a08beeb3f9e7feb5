"""Proves what ``dslocal import`` takes, where it is and as what; and what it refuses: other models,
damage, missing parts, clashes.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from support.catalog.other_programs import FILE_TYPE, blob, changed, layers, manifest
from support.cli.running import Done, Run
from support.gguf.gguf_changes import parts_of, put

import dslocal.convert as converter
from dslocal import catalog
from dslocal.catalog import other_programs

TYPO = (b"general.file_type", b"general.file_typo")
ALIEN = (
    b"deepseek2.embedding_length",
    b"deepseek2.embedding_lengtX",
)  # which makes nano a model like others


@pytest.fixture
def here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """dslocal with a home of its own, and no other program's models but those that a test makes."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr(other_programs, "OLLAMA_SYSTEM_FOLDERS", ())
    (tmp_path / "ds").mkdir()
    return Run(tmp_path / "ds")


@pytest.fixture(scope="module")
def parts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """nano in two files."""
    out = tmp_path_factory.mktemp("parts") / "mini-Q8_0.gguf"
    source = converter.FolderSource(catalog.load_registry()["nano"].folder)
    plan = converter.plan_conversion(
        converter.open_checkpoint(source),
        [converter.recipe_named("Q8_0")],
        split=converter.Split(True, 0),
    )
    converter.write_gguf(plan, [out])
    return sorted(out.parent.glob("*.gguf"))


def linked(nano: Path, *paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(nano)


def imported(here: Run, *args: str | Path, cwd: Path | None = None) -> list[dict[str, Any]]:
    done = here.inside("import", "--json", *args, cwd=cwd)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["imported"]
    return found


def listed(here: Run) -> list[str]:
    return [
        f"{row['name']}:{row['quant']}"
        for row in json.loads(here.inside("models", "--json").stdout)["models"][1:]
    ]


def refused(done: Done, code: int, *words: str) -> None:
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    assert done.stderr.count(b"\n") == 1
    for word in words:
        assert word in done.stderr.decode()


def test_a_file_is_used_where_it_is(here: Run, nano: Path, tmp_path: Path) -> None:
    file = changed(nano, tmp_path / "files/Mini DeepSeek-Q8_0.gguf")
    before = file.stat()
    done = here.inside("import", "Mini DeepSeek-Q8_0.gguf", cwd=file.parent)
    assert (done.returncode, done.stderr) == (0, b"")
    size = f"{before.st_size / 1e6:.1f} MB"
    assert done.stdout.decode() == (
        f'mini-deepseek:Q8_0, {size}: dslocal ask -m mini-deepseek "…"; it stays where it'
        f" is: {file}\n"
    )
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in (here.home / "state/models").glob("*.json")] == [
        "mini-deepseek@q8_0.json"
    ]
    asked = here("ask", "-m", "mini-deepseek", "--seed", "1", "What is 2 + 3?")
    assert (asked.returncode, b"5" in asked.stdout) == (0, True), asked.stderr
    again = here("ask", "--seed", "1", "What is 2 + 3?")  # the one used last
    assert again.stdout == asked.stdout
    assert not (here.home / "cache").exists()  # which nano's conversion would have made


NAMES: list[tuple[str, list[str], str]] = [
    ("DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", [], "deepseek-r1-distill-qwen-7b"),
    ("DeepSeek-R1-UD-IQ1_S.gguf", [], "deepseek-r1"),
    ("deepseek-v3.q8_0.gguf", [], "deepseek-v3"),
    ("r1-bf16.gguf", [], "r1"),
    ("深度 R1.gguf", [], "r1"),
    ("\x1b[31m\nr1.gguf", [], "31m-r1"),
    ("no suffix", [], "no-suffix"),
    ("x.gguf", ["--name", "my.r1_x"], "my.r1_x"),
    ("x.gguf", ["--name", "Mine"], "mine"),
]


@pytest.mark.parametrize(("file", "args", "name"), NAMES)
def test_names(
    here: Run, nano: Path, tmp_path: Path, file: str, args: list[str], name: str
) -> None:
    linked(nano, tmp_path / "files" / file)
    (found,) = imported(here, tmp_path / "files" / file, *args)
    assert (found["name"], found["quant"], found["how"], found["old_file"]) == (
        name,
        "Q8_0",
        "imported",
        False,
    )
    assert found["path"] == found["from"] == str(tmp_path / "files" / file)
    assert b"\x1b" not in here.inside("models").stdout


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "../x", "r1:7b", "-x", "x.gguf", "深", "a b", "x\x1b", "x" * 97, "nano", "NANO"],
)
def test_names_that_cannot_be(here: Run, nano: Path, name: str) -> None:
    refused(
        here.inside("import", nano, "--name", name),
        2,
        "nano" if name.lower() == "nano" else "--name",
    )
    assert listed(here) == []


def test_a_file_that_says_nothing_of_its_name(here: Run, nano: Path, tmp_path: Path) -> None:
    linked(nano, tmp_path / "深度.gguf")
    assert imported(here, tmp_path / "深度.gguf", "--name", "x")[0]["name"] == "x"
    file = changed(nano, tmp_path / "求索.gguf", (b"general.name", b"general.nama"))
    refused(here.inside("import", file), 2, "--name")


QUANTS = [
    ((FILE_TYPE, FILE_TYPE[:-4] + struct.pack("<I", 15)), "Q4_K_M"),
    ((FILE_TYPE, FILE_TYPE[:-4] + struct.pack("<I", 1024 + 15)), "Q4_K_M"),  # guessed
    ((FILE_TYPE, FILE_TYPE[:-4] + struct.pack("<I", 99)), "Q8_0"),  # what most weights are
    (TYPO, "Q8_0"),
]


@pytest.mark.parametrize(("change", "quant"), QUANTS, ids=[str(i) for i in range(len(QUANTS))])
def test_the_quantization(
    here: Run, nano: Path, tmp_path: Path, change: tuple[bytes, bytes], quant: str
) -> None:
    assert imported(here, changed(nano, tmp_path / "mini.gguf", change))[0]["quant"] == quant


def test_an_old_mla_file_is_taken_with_a_warning(here: Run, nano: Path, tmp_path: Path) -> None:
    length = b"deepseek2.attention.value_length" + struct.pack(
        "<I", 4
    )  # of a head as it was, not of what is cached now
    lengths = length + struct.pack("<I", 512), length + struct.pack("<I", 128)
    file = changed(
        nano,
        tmp_path / "old.gguf",
        (b"attention.key_length_mla", b"attention.key_length_mlX"),
        lengths,
    )
    done = here.inside("import", file)
    assert done.returncode == 0, done.stderr
    assert (
        b"dslocal: old: this file is from before llama.cpp kept MLA's cache compressed"
        in done.stderr
    )
    assert imported(here, file)[0]["old_file"] is True


REFUSED: list[tuple[str, bytes, int, str]] = [
    ("empty.gguf", b"", 1, "but empty, 0 bytes"),
    ("text.gguf", b"hello", 1, "not a GGUF file"),
    (
        "huge.gguf",
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60),
        1,
        "more than the file can hold",
    ),
    ("nothing.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0), 1, "holds no weights"),
    ("version.gguf", b"GGUF" + struct.pack("<IQQ", 9, 0, 0), 1, "version 9"),
]


@pytest.mark.parametrize(("name", "content", "code", "words"), REFUSED)
def test_what_is_not_a_model_of_deepseeks(
    here: Run, tmp_path: Path, name: str, content: bytes, code: int, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(here.inside("import", tmp_path / name), code, words)
    assert listed(here) == []


def test_other_models_and_cut_files(here: Run, nano: Path, tmp_path: Path) -> None:
    other = changed(
        nano,
        tmp_path / "llama.gguf",
        ("<｜end▁of▁sentence｜>".encode(), "<｜end▁of▁sentencX｜>".encode()),
        ALIEN,
    )
    refused(here.inside("import", other), 1, "is not a DeepSeek model")
    os.truncate(other, 20_000_000)
    refused(here.inside("import", other), 1, "cut off")


def test_models_that_the_engine_does_not_run_yet(here: Run, nano: Path, tmp_path: Path) -> None:
    parts = parts_of(nano)
    put("general.architecture", "deepseek41")(parts)
    file = parts.write(tmp_path / "v4.1.gguf")
    refused(here.inside("import", file), 1, "V4.1 needs llama.cpp's deepseek41")
    refused(here.inside("ask", "-m", file, "x"), 1, "deepseek-v4-flash-0731 is the newest")
    assert listed(here) == []


MISSING = [
    "/no/such.gguf",
    "no-such-model",
    "deepseek-r1:7b",
    "ollama:x",
    "../../etc",
    "~nobody/x",
    "x" * 5000,
    "\x1b[31m",
    "a\0b",
    "",
]


@pytest.mark.parametrize("source", MISSING, ids=lambda text: f"{text!r:.20}")
def test_what_is_not_there(here: Run, source: str) -> None:
    (here.home / "bad.gguf").touch()  # in the current folder, which no name means
    done = here.inside("import", source)
    refused(done, 3, "dslocal import lists")
    assert b"\x1b" not in done.stderr


def test_a_pipe_is_not_waited_for(here: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    refused(here.inside("import", tmp_path / "pipe.gguf"), 3)


@pytest.mark.parametrize("given", [0, 1])
def test_a_split_model(here: Run, parts: list[Path], given: int) -> None:
    (found,) = imported(here, parts[given])
    assert found["files"] == [str(part) for part in parts]
    assert (found["name"], found["path"]) == ("mini", str(parts[0]))
    assert found["bytes"] == sum(part.stat().st_size for part in parts)
    assert b"5" in here("ask", "-m", "mini", "--seed", "1", "What is 2 + 3?").stdout


def test_a_split_model_that_is_not_whole(
    here: Run, parts: list[Path], nano: Path, tmp_path: Path
) -> None:
    names = [part.name for part in parts]
    alone = tmp_path / names[0]
    linked(parts[0], alone)
    refused(here.inside("import", alone), 3, f"{tmp_path / names[1]}: is missing: part 2 of 2")
    linked(nano, tmp_path / names[1])
    refused(here.inside("import", alone), 1, f"{names[1]}: is not part 2 of 2")
    (tmp_path / names[1]).unlink()
    linked(parts[0], tmp_path / names[1])
    refused(here.inside("import", alone), 1, f"{names[1]}: is not part 2 of 2")
    renamed = tmp_path / "renamed.gguf"
    linked(parts[0], renamed)
    refused(here.inside("import", renamed), 1, "is one of 2 parts, and its name does not say which")
    assert listed(here) == []


def test_clashes(here: Run, nano: Path, tmp_path: Path) -> None:
    one, two = (tmp_path / folder / "mini.gguf" for folder in "ab")
    linked(nano, one, two)
    for _ in range(2):  # the same file may be imported again
        imported(here, one)
    refused(here.inside("import", two), 2, f"mini:Q8_0 is {one} already", "--name")
    imported(here, two, "--name", "other")
    imported(here, one, "--name", "again")
    assert listed(here) == ["again:Q8_0", "mini:Q8_0", "other:Q8_0"]
    other_quant = changed(
        nano, tmp_path / "mini.gguf", (FILE_TYPE, FILE_TYPE[:-4] + struct.pack("<I", 15))
    )
    assert b"dslocal ask -m mini:Q4_K_M " in here.inside("import", other_quant).stdout


def test_a_folder_of_models(here: Run, nano: Path, parts: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "home/.lmstudio/models/org/Mini-GGUF"
    changed(nano, folder / "Mini-Q4_K_M.gguf", (FILE_TYPE, FILE_TYPE[:-4] + struct.pack("<I", 15)))
    linked(nano, folder / "mmproj-mini-f16.gguf")
    for part in parts:
        linked(part, folder / part.name)
    expected = [("mini", "Q4_K_M", 1), ("mini", "Q8_0", 2)]
    for source in (folder, "org/Mini-GGUF"):
        assert [
            (one["name"], one["quant"], len(one["files"])) for one in imported(here, source)
        ] == expected
    linked(nano, folder / "mini.gguf")
    refused(here.inside("import", folder), 2, "would both be mini:Q8_0", "--name")
    (folder / "mini.gguf").unlink()
    (folder / "bad-Q2_K.gguf").write_bytes(b"bad")
    refused(here.inside("import", folder), 1, "bad-Q2_K.gguf")
    refused(here.inside("import", tmp_path), 3, "no GGUF model in this folder")
    refused(here.inside("import", catalog.load_registry()["nano"].folder), 3, "dslocal ask -m")


OLLAMA = [
    ("deepseek-r1:7b", "registry.ollama.ai/library/deepseek-r1/7b", "deepseek-r1-7b"),
    (
        "ollama:deepseek-r1:7b-qwen-distill-q8_0",
        "registry.ollama.ai/library/deepseek-r1/7b-qwen-distill-q8_0",
        "deepseek-r1-7b-qwen-distill",
    ),
    ("deepseek-v3", "registry.ollama.ai/library/deepseek-v3/latest", "deepseek-v3"),
    ("hf.co/unsloth/DeepSeek-R1-GGUF:Q8_0", "hf.co/unsloth/DeepSeek-R1-GGUF/Q8_0", "deepseek-r1"),
    ("", "registry.ollama.ai/library/deepseek-r1/7b", "deepseek-r1-7b"),  # by its blob
]


@pytest.mark.parametrize(("source", "path", "name"), OLLAMA)
def test_ollama(here: Run, nano: Path, tmp_path: Path, source: str, path: str, name: str) -> None:
    root = tmp_path / "home/.ollama/models"
    digest = blob(root, nano)
    manifest(root, path, layers(digest))
    file = root / "blobs" / digest.replace(":", "-")
    before = sorted(root.rglob("*"))
    (found,) = imported(here, source or file)
    assert (found["name"], found["quant"], found["path"]) == (name, "Q8_0", str(file))
    assert found["from"].startswith("ollama:")
    assert here.inside("rm", name, "--yes").returncode == 0
    assert sorted(root.rglob("*")) == before
    assert file.read_bytes()[:4] == b"GGUF"


def test_a_blob_that_no_manifest_names(here: Run, nano: Path, tmp_path: Path) -> None:
    file = changed(nano, tmp_path / "models/blobs/placeholder", (b"nano", b"mini")).rename(
        tmp_path / "models/blobs" / f"sha256-{'a' * 64}"
    )
    (found,) = imported(here, file)
    assert (found["name"], found["from"]) == ("mini", str(file))


def test_what_could_be_imported(here: Run, nano: Path, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    manifest(root, "registry.ollama.ai/library/deepseek-r1/7b", layers(blob(root, nano)))
    (tmp_path / "llama.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    manifest(
        root, "registry.ollama.ai/library/llama3/8b", layers(blob(root, tmp_path / "llama.gguf"))
    )
    studio = (
        tmp_path
        / "home/.lmstudio/models/org"
        / "a-publisher's-very-long-name-of-a-repository-of-a-model-GGUF/Mini-Q8_0.gguf"
    )
    linked(nano, studio)
    env = {"OLLAMA_MODELS": str(root), "COLUMNS": "80"}
    found = json.loads(here.inside("import", "--json", env=env).stdout)
    assert [
        (one["app"], one["name"], one["quant"], one["imported_as"]) for one in found["found"]
    ] == [
        ("LM Studio", f"org/{studio.parent.name}/Mini-Q8_0.gguf", "Q8_0", None),
        ("Ollama", "deepseek-r1:7b", "Q8_0", None),
    ]
    assert [(one["name"], "holds no weights" in one["why"]) for one in found["refused"]] == [
        ("llama3:8b", True)
    ]
    assert {"app": "Ollama", "path": str(root), "there": True} in found["looked_in"]
    here.inside("import", "deepseek-r1:7b", env=env)
    shown = here.inside("import", env=env).stdout.decode()
    assert max(map(len, shown.splitlines())) <= 80
    assert "imported as deepseek-r1-7b:Q8_0" in shown
    assert studio.parent.name in shown.replace("\n", "")
    assert "1 other cannot be imported: llama3:8b: sha256-" in " ".join(shown.split())


def test_nothing_to_import(here: Run, tmp_path: Path) -> None:
    done = here.inside("import", env={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, b"")
    for folder in (".ollama/models", ".lmstudio/models", ".cache/lm-studio/models"):
        assert f"{tmp_path}/home/{folder}, which does not exist" in done.stdout.decode()
    assert b"dslocal import FILE" in done.stdout
    assert json.loads(here.inside("import", "--json").stdout)["found"] == []
