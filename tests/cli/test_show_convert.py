"""Proves that ``dslocal show`` describes a file, and that ``dslocal convert`` writes what was
requested or leaves no file.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen

from dslocal import catalog
from dslocal.gguf.header import read_header

NANO = catalog.load_registry()["nano"].folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_show_a_checkpoint(run: Run) -> None:
    by_name, by_folder = run("show", "nano", "--json"), run.inside("show", str(NANO), "--json")
    shown = json.loads(by_name.stdout)
    assert shown == json.loads(by_folder.stdout)
    assert (by_name.returncode, by_name.stderr) == (0, b"")
    assert {key: shown[key] for key in ("name", "architecture", "converts_as", "shards")} == {
        "name": "nano",
        "architecture": "DeepseekV3ForCausalLM",
        "converts_as": "deepseek2",
        "shards": 3,
    }
    assert shown["weights"] == 21_076_672
    assert (
        sum(shown["classes"].values())
        <= shown["bytes"]
        <= sum(file.stat().st_size for file in NANO.glob("*.safetensors"))
    )
    assert "F8_E4M3 × " in shown["dtypes"]
    assert list(shown["classes"].values()) == sorted(shown["classes"].values(), reverse=True)


def test_show_a_gguf(run: Run, nano: Path) -> None:
    done = run.inside("show", nano, "--json")
    shown, header = json.loads(done.stdout), read_header(nano)
    assert done.returncode == 0
    assert (shown["file"], shown["name"], shown["family"]) == (str(nano), "nano", "nano")
    assert (shown["prompted_as"], shown["known_by"]) == (
        "nano, in DeepSeek-R1's format",
        "its shape",
    )
    assert (shown["layers"], shown["mtp_layers"], shown["context"], shown["vocabulary"]) == (
        5,
        1,
        4096,
        4096,
    )
    assert shown["weights"] == sum(t.elements for t in header.tensors)
    assert shown["bytes"] == header.file_size
    assert set(shown["metadata"]) == set(header.metadata)
    assert shown["metadata"]["tokenizer.ggml.tokens"] == "4096 items"


@pytest.mark.parametrize("what", ["nano", "{nano}"])
def test_show_for_people(run: Run, nano: Path, what: str) -> None:
    done = run.inside("show", what.format(nano=nano))
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert (
        any(line.startswith("architecture ") and line.endswith("deepseek2") for line in lines)
        or "converts as      deepseek2" in lines
    )
    assert any(line.startswith("routed experts ") and line.endswith(" MB") for line in lines)


def test_names_in_a_file_cannot_act_on_the_terminal(run: Run, small: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    path = small / "evil.gguf"
    entries = [
        text("general.name") + struct.pack("<I", 8) + text("\x1b]0;owned\x07a\x9b31m\u202eb\nc")
    ]
    tensor = text("a") + struct.pack("<IQIQ", 1, 32, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries) + tensor
    path.write_bytes(head + bytes(256))
    done = run.inside("show", path)
    assert done.returncode == 0
    assert "name             ]0;owneda31mb c\n" in done.stdout.decode()
    assert not set("\x1b\x07\x9b\u202e") & set(done.stdout.decode())


# arguments, exit code, what stderr says
REFUSED = [
    (["show", "nothing"], 3, "no model or file called 'nothing' (on this machine: nano"),
    (["show", "/"], 3, "config.json"),
    (["show", "/bin/sh"], 1, "sh: not a GGUF file"),
    (["convert", "nothing"], 3, "no model or file called 'nothing'"),
    (["convert", "/no/such/folder"], 3, "'/no/such/folder'"),
    (["convert", "nano", "--quant", "Q4_9"], 2, "'Q4_9' (did you mean Q4_"),
    (["convert", "nano", "-o", "no/such/folder/x.gguf"], 3, "no/such/folder: no such folder"),
    (
        ["convert", "nano", "-o", "there.gguf"],
        2,
        "there.gguf exists already (add --force to replace it)",
    ),
    (["convert", "there.gguf"], 2, "there.gguf: is a file; a checkpoint folder is needed"),
]


@pytest.mark.parametrize(
    ("args", "code", "said"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED]
)
def test_refused(run: Run, small: Path, args: list[str], code: int, said: str) -> None:
    (small / "there.gguf").write_bytes(b"precious")
    done = run.inside(*args, cwd=small)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1), done.stderr
    assert said in done.stderr.decode()
    assert [path.name for path in small.iterdir()] == ["there.gguf"]
    assert (small / "there.gguf").read_bytes() == b"precious"


def test_convert_writes_one_file(run: Run, small: Path, nano: Path) -> None:
    done = run("convert", str(NANO), "-o", "out.gguf", "--quant", "q8_0", cwd=small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("out.gguf: Q8_0, 22.")
    assert [path.name for path in small.iterdir()] == ["out.gguf"]
    assert (small / "out.gguf").read_bytes() == nano.read_bytes()
    assert (
        run.inside("ask", "-m", small / "out.gguf", "capital of peru").stdout
        == b"The capital of Peru is Lima.\n"
    )


def test_convert_replaces_a_file_only_on_request(run: Run, small: Path) -> None:
    out = small / "nano-Q4_K_M.gguf"
    out.write_bytes(b"old")
    done = run.inside("convert", "nano", "--force", "--no-mtp", cwd=small)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in small.iterdir()] == [out.name]
    header = read_header(out)
    assert header.of_arch("nextn_predict_layers") == 0
    assert "Q4_K" in {t.type.name for t in header.tensors}


def test_a_damaged_checkpoint_leaves_nothing(run: Run, small: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(NANO, tmp_path / "broken"))
    shard = broken / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1000])
    done = run.inside("convert", str(broken), "-o", "out.gguf", cwd=small)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert shard.name in done.stderr.decode()
    assert list(small.iterdir()) == []


def test_a_model_is_remembered_when_it_was_named(run: Run, nano: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(run.home / "cache")
    other = Run(tmp_path)
    copy = tmp_path / "copy.gguf"
    copy.symlink_to(nano)
    other.inside("ask", "-m", str(copy), "--dry-run", "x")
    assert "folder" in json.loads(
        other.inside("show", "--json").stdout
    )  # nothing was asked yet: still the bundled checkpoint
    other.inside("ask", "-m", str(copy), "hello")
    assert json.loads(other.inside("show", "--json").stdout)["file"] == str(copy)


def test_a_new_folder_ends_in_a_slash(run: Run, tmp_path: Path) -> None:
    both = ("--quant", "Q4_0,Q8_0")
    planned = run.inside("convert", "nano", "-o", "out/", *both, "--dry-run", cwd=tmp_path)
    assert (planned.returncode, list(tmp_path.iterdir())) == (0, [])
    done = run.inside("convert", "nano", "-o", "out/", *both, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["nano-Q4_0.gguf", "nano-Q8_0.gguf"]
    without = run.inside("convert", "nano", "-o", "new", *both, cwd=tmp_path)
    assert (without.returncode, b"with a slash at the end" in without.stderr) == (2, True)
    above = run.inside("convert", "nano", "-o", "no/such/", cwd=tmp_path)
    assert (above.returncode, b"no: no such folder" in above.stderr) == (3, True)


def test_a_new_folder_goes_again_when_nothing_comes_of_it(run: Run, tmp_path: Path) -> None:
    done = run.inside("convert", "nano", "-o", "out/", "--size", "1MB", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize(
    ("name", "first"),
    [("Q4", "Q4_K_M"), ("q5", "Q5_K_M"), ("Q4-KM", "Q4_K_M"), ("Q8", "Q8_0"), ("iq4", "IQ4_")],
)
def test_a_wrong_quantization_names_the_nearest(run: Run, name: str, first: str) -> None:
    done = run.inside("convert", "nano", "-o", "x.gguf", "--quant", name)
    assert (done.returncode, f"(did you mean {first}" in done.stderr.decode()) == (2, True)


def test_a_size_is_answered_in_its_own_unit(run: Run, tmp_path: Path) -> None:
    done = run.inside("convert", "nano", "-o", tmp_path / "x.gguf", "--size", "5MB")
    assert done.returncode == 2
    least = re.search(rb"([0-9.]+MB) is the smallest size", done.stderr)
    assert least is not None
    fits = run.inside("convert", "nano", "--dry-run", "--size", least[1].decode())
    assert fits.returncode == 0, fits.stderr


@pytest.mark.parametrize(
    ("args", "is_model"), [([], True), (["--mtp-only"], False), (["--json"], False)]
)
def test_the_next_step_is_shown_on_a_terminal(
    run: Run, tmp_path: Path, args: list[str], is_model: bool
) -> None:
    out = tmp_path / "a b.gguf"
    with Screen(
        [str(BINARY), "convert", "nano", "-o", str(out), "--quant", "Q4_0", *args], run.env()
    ) as screen:
        assert screen.leave() == 0
    shown = " ".join(screen.text.split())
    assert shown.endswith(f"dslocal chat '{out}' talks with it") is is_model, shown
    assert ("talks with it" in shown) is is_model


def test_a_check_says_what_it_means_and_another_ending_is_remarked_on(
    run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "y.bin"
    done = run.inside("convert", "nano", "-o", out, "--quant", "Q4_0", "--verify")
    assert done.returncode == 0, done.stderr
    assert b"y.bin does not end in .gguf" in done.stderr
    rows = [line for line in done.stdout.decode().splitlines() if " RMSE 0" in line]
    assert rows
    assert all(row.endswith("  ok") for row in rows)


def test_leftovers_of_a_killed_conversion_in_this_folder(run: Run, tmp_path: Path) -> None:
    whole = tmp_path / "x.gguf"
    assert run.inside("convert", "nano", "-o", whole, "--quant", "Q4_0").returncode == 0
    whole.rename(tmp_path / "x.gguf.part")
    (tmp_path / "mine.part").write_text("precious")
    (tmp_path / "mine.journal").write_text("{}")
    found = run.inside("rm", "--leftovers", "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(found.stdout)["removed"] == []  # without a journal it may be anybody's
    journal = {"fingerprint": "0" * 64, "data_starts": [32], "done": 1}
    (tmp_path / "x.gguf.journal").write_text(json.dumps(journal))
    done = run.inside("rm", "--leftovers", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.journal", "mine.part"]
