"""Proves what ``dslocal models`` lists, in 80 columns and as JSON, and what ``dslocal rm`` deletes,
asks and keeps.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.catalog.other_programs import snapshot
from support.cli.running import BINARY, Done, Run
from support.terminal.screen import Screen

from dslocal import catalog
from dslocal.catalog import resolve
from dslocal.catalog.inventory import Provenance
from dslocal.catalog.leftovers import PROMPTS
from dslocal.gguf.header import fingerprint
from dslocal.home.paths import MODEL_DIGITS, prefix_dir

ONE = "0123456789abcdef" * 2 + "01234567"
LONG = "a-name-of-a-model-that-is-as-long-as-a-name-may-be-" + "x" * 45


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """dslocal with a home of its own."""
    for name, path in {"HOME": "user", "HF_HUB_CACHE": "hub", "DSLOCAL_HOME": "ds"}.items():
        (tmp_path / path).mkdir()
        monkeypatch.setenv(name, str(tmp_path / path))
    return Run(tmp_path / "ds")


def kept(
    path: Path,
    how: Provenance,
    name: str = "r1",
    quant: str = "Q4_K_M",
    origin: str = "",
    added: float = 1.0,
) -> catalog.InstalledModel:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"GGUF" + b"\0" * 999_996)
    entry = catalog.InstalledModel(
        name, quant, path, (path,), path.stat().st_size, how, origin or str(path), added
    )
    catalog.add_installed(entry)
    return entry


def with_nano(here: Run, nano: Path) -> Path:
    """nano's conversion in ``here``."""
    (here.home / "cache/converted").mkdir(parents=True)
    return Path(shutil.copy(nano, here.home / "cache/converted"))


def as_json(here: Run, *args: str) -> dict[str, Any]:
    done = here.inside(*args, "--json")
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def shown(here: Run) -> str:
    done = here.inside("models", env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    return text


def refused(done: Done, code: int, *words: str) -> None:
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    assert done.stderr.count(b"\n") == 1
    for word in words:
        assert word in done.stderr.decode()


def test_nothing_but_what_ships(here: Run) -> None:
    text = shown(here)
    assert [line.split() for line in text.splitlines()[:2]] == [
        ["model", "quant", "size", "how", "from"],
        ["nano", "Q8_0", "27.9", "MB", "ships", "converted", "when", "it", "is", "used"],
    ]
    assert (
        f"models.yaml knows {len(catalog.load_registry()) - 1} more: dslocal fit lists them" in text
    )
    found = as_json(here, "models")
    assert (found["cached"], found["leftovers"], found["disk"]) == (
        [],
        [],
        {"converted": 0, "downloaded": 0, "imported": 0},
    )
    assert [model["converted"] for model in found["models"]] == [[]]
    assert list(here.home.iterdir()) == []


def test_all_that_is_here(here: Run, nano: Path, tmp_path: Path) -> None:
    size = with_nano(here, nano).stat().st_size
    shutil.copy(nano, here.home / "cache/converted/My Model-Q4_K_M-0123456789ab.gguf")
    (here.home / "cache/converted/deepseek-r1.gguf.part").write_bytes(b"x" * 8192)
    link = snapshot(tmp_path / "hub", "org/r1", ONE, {"r1.gguf": b"GGUF" + b"x" * 2_999_996})[
        "r1.gguf"
    ]
    kept(link, "downloaded", "deepseek-r1", origin=f"hf:org/r1@{ONE}")
    kept(
        tmp_path / "made.gguf",
        "converted",
        "deepseek-v3",
        "Q2_K",
        f"hf:deepseek-ai/DeepSeek-V3@{ONE}",
    )
    kept(tmp_path / "ollama.gguf", "imported", "deepseek-r1-7b", origin="ollama:deepseek-r1:7b")
    kept(tmp_path / "ollama.gguf", "imported", LONG, origin="x" * 200 + "\x1b[31m\nend")
    gone = kept(tmp_path / "gone.gguf", "imported", "gone")
    gone.path.unlink()

    found = as_json(here, "models")
    rows = {model["name"]: model for model in found["models"]}
    assert list(rows) == ["nano", LONG, "deepseek-r1", "deepseek-r1-7b", "deepseek-v3", "gone"]
    assert {
        key: rows["deepseek-r1"][key]
        for key in ("quant", "bytes", "how", "from", "path", "missing")
    } == {
        "quant": "Q4_K_M",
        "bytes": 3_000_000,
        "how": "downloaded",
        "from": f"hf:org/r1@{ONE}",
        "path": str(link),
        "missing": None,
    }
    assert rows["gone"]["missing"] == str(gone.path)
    assert [one["bytes"] for one in rows["nano"]["converted"]] == [size]
    assert [(one["name"], one["quant"]) for one in found["cached"]] == [("My Model", "Q4_K_M")]
    assert found["disk"] == {
        "converted": 2 * size + 1_000_000,
        "downloaded": 3_000_000,
        "imported": 1_000_000,
    }  # two names, one file
    assert [Path(one["path"]).name for one in found["leftovers"]] == ["deepseek-r1.gguf.part"]
    assert found["known"] == len(catalog.load_registry()) - 3  # nano, R1 and V3 are here

    text = shown(here)
    words, unbroken = " ".join(text.split()), "".join(text.split())
    for name in rows:
        assert name in unbroken  # whole
    assert "hf:org/r1@0123456" in text
    assert ONE not in text
    assert "ollama:deepseek-r1:7b" in text
    assert f"gone:{gone.path};dslocalrmgone:Q4_K_Mremovesthemodel" in unbroken
    assert "3.0 MB downloaded" in words
    assert "imported files, which dslocal does not delete, take 1.0 MB" in words
    assert "dslocal rm --leftovers deletes" in words


def test_damaged_entries_do_not_hide_the_others(here: Run, tmp_path: Path) -> None:
    kept(tmp_path / "a.gguf", "imported", "good")
    (here.home / "state/models/bad@q8_0.json").write_text('{"format": 1, "name": "../../bad"}')
    assert [model["name"] for model in as_json(here, "models")["models"]] == ["nano", "good"]


NAMES = [["r1"], ["R1"], ["r1:Q4_K_M"], ["r1:q4_k_m"], ["r1", "r1:Q4_K_M"]]


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_rm_deletes_what_dslocal_made(here: Run, tmp_path: Path, names: list[str]) -> None:
    entry = kept(tmp_path / "made.gguf", "converted")
    other = kept(tmp_path / "other.gguf", "converted", "other")
    done = here.inside("rm", *names, "--yes", env={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "r1:Q4_K_M",
        f"  goes: {entry.path}",
        "freed 1.0 MB",
    ]
    assert not entry.path.exists()
    assert catalog.installed_models() == [other]
    assert other.path.exists()


def test_rm_leaves_imported_files(here: Run, tmp_path: Path) -> None:
    entry = kept(tmp_path / "mine.gguf", "imported")
    done = here.inside("rm", "r1", "--yes", env={"COLUMNS": "200"})
    assert f"the file itself stays: {entry.path}" in done.stdout.decode()
    assert entry.path.exists()
    assert catalog.installed_models() == []


def test_rm_of_a_download(here: Run, tmp_path: Path) -> None:
    link = snapshot(tmp_path / "hub", "org/r1", ONE, {"r1.gguf": b"GGUF", "README.md": b"# R1"})[
        "r1.gguf"
    ]
    kept(link, "downloaded")
    assert here.inside("rm", "r1", "--yes").returncode == 0
    assert not link.exists()
    assert (link.parent / "README.md").read_text() == "# R1"


def test_rm_of_what_is_gone(here: Run, tmp_path: Path) -> None:
    kept(tmp_path / "gone.gguf", "converted").path.unlink()
    done = here.inside("rm", "r1", "--yes")
    assert (done.returncode, b"gone already" in done.stdout) == (0, True)
    assert catalog.installed_models() == []


def test_rm_of_nano_and_of_folders(here: Run, nano: Path) -> None:
    mine = with_nano(here, nano)
    stale, other = (
        mine.with_name(f"{name}-0123456789ab.gguf") for name in ("nano-Q8_0", "My Model-Q4_K_M")
    )
    for file in (stale, other):
        file.write_bytes(b"GGUF")
    assert as_json(here, "rm", "nano", "--yes")["freed"] == nano.stat().st_size + 4
    assert [file.name for file in mine.parent.glob("*.gguf")] == [other.name]
    assert resolve.resolve_model("nano") == resolve.LocalCheckpoint(
        "nano", catalog.load_registry()["nano"].folder, "Q8_0"
    )
    assert here.inside("rm", "my model", "--yes").returncode == 0
    assert list(mine.parent.glob("*.gguf")) == []
    done = here.inside("rm", "nano", "--yes")
    assert (done.returncode, done.stdout) == (0, b"nothing to remove\n")
    assert b"nano ships with dslocal" in done.stderr


def test_rm_dry_run(here: Run, tmp_path: Path) -> None:
    entry = kept(tmp_path / "made.gguf", "converted")
    done = here.inside("rm", "r1", "--dry-run")
    assert (done.returncode, b"would free 1.0 MB" in done.stdout) == (0, True)
    assert as_json(here, "rm", "r1", "--dry-run") == {
        "removed": [
            {
                "name": "r1",
                "quant": "Q4_K_M",
                "bytes": 1_000_000,
                "why": "",
                "deleted": [str(entry.path)],
                "stays": [],
            }
        ],
        "freed": 1_000_000,
        "dry_run": True,
    }
    assert entry.path.exists()
    assert catalog.installed_models() == [entry]


WRONG: list[tuple[list[str], int, list[str]]] = [
    ([], 2, ["no model is named"]),
    (["r1"], 2, ["--yes"]),
    (["v3", "--yes"], 2, ["2 quantizations", "v3:IQ1_S, v3:Q8_0"]),
    (
        ["nothing", "--yes"],
        3,
        ["'nothing' is on this machine (on this machine: nano, r1:Q4_K_M, v3:IQ1_S, v3:Q8_0)"],
    ),
    (["nothing"], 3, ["nothing"]),
    (["r1", "nothing", "--yes"], 3, ["nothing"]),
    (["r1:Q8_0", "--yes"], 3, ["r1:Q8_0"]),
    (["r1:", "--yes"], 3, ["r1:"]),
    (["deepseek-v3", "--yes"], 3, ["deepseek-v3"]),
    (["../r1", "--yes"], 3, ["../r1"]),
    (["\x1b[31m", "--yes"], 3, ["[31m"]),
    (["", "--yes"], 3, ["''"]),
    ([":", "--yes"], 3, ["':'"]),
]


@pytest.mark.parametrize(("args", "code", "words"), WRONG, ids=[repr(args) for args, _, _ in WRONG])
def test_rm_refuses_and_touches_nothing(
    here: Run, tmp_path: Path, args: list[str], code: int, words: list[str]
) -> None:
    kept(tmp_path / "r1.gguf", "converted")
    for quant in ("Q8_0", "IQ1_S"):
        kept(tmp_path / f"v3-{quant}.gguf", "converted", "v3", quant)
    before = catalog.installed_models()
    refused(here.inside("rm", *args), code, *words)
    assert catalog.installed_models() == before
    assert not any(entry.missing for entry in before)


@pytest.mark.parametrize(
    ("answer", "gone"),
    [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("\x04", False)],
)
def test_rm_asks_on_a_terminal(here: Run, tmp_path: Path, answer: str, gone: bool) -> None:
    entry = kept(tmp_path / "made.gguf", "converted")
    with Screen([str(BINARY), "rm", "r1"], here.env()) as screen:
        screen.wait_for("free 1.0 MB? [y/N] ")
        assert entry.path.exists()
        screen.press(answer)
        assert screen.leave() == int(not gone)
    assert entry.path.exists() is not gone
    assert bool(catalog.installed_models()) is not gone


def test_the_last_used_model_falls_back_when_it_is_removed(
    here: Run, nano: Path, tmp_path: Path
) -> None:
    shutil.copy(nano, tmp_path / "made.gguf")
    kept(tmp_path / "made.gguf", "converted")
    resolve.remember_last_used("r1")
    assert resolve.resolve_model(None) == tmp_path / "made.gguf"
    here.inside("rm", "r1", "--yes")
    assert resolve.last_used_model() is None
    assert isinstance(resolve.resolve_model(None), resolve.LocalCheckpoint)


def with_prompts(here: Run, fingerprint: str, *sizes: int) -> list[Path]:
    """Files of evaluated prompts and answers, as ``dslocal serve`` keeps them for one model."""
    folder = prefix_dir() / fingerprint[:MODEL_DIGITS]
    folder.mkdir(parents=True)
    files = [folder / f"{number}{PROMPTS[number % len(PROMPTS)]}" for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(b"x" * size)
    return files


def test_rm_prompts(here: Run, nano: Path) -> None:
    """Proves that evaluated prompts go, of every model, and that models and other files stay."""
    made = with_nano(here, nano)
    own = with_prompts(here, fingerprint(made), 4096, 8192)
    other = with_prompts(here, "0" * 64, 4096)
    strange = own[0].with_name("notes.txt")
    strange.write_text("not a prompt")
    refused(here.inside("rm", "--prompts"), 2, "--yes")
    dry = as_json(here, "rm", "--prompts", "--dry-run")
    assert (dry["freed"], dry["dry_run"]) == (16384, True)
    assert sorted(file for one in dry["removed"] for file in one["deleted"]) == sorted(
        map(str, own + other)
    )
    assert all(file.exists() for file in own + other)
    done = here.inside("rm", "--prompts", "--yes")
    assert (done.returncode, b"freed 0.0 MB" in done.stdout) == (0, True), done.stdout
    assert not any(file.exists() for file in own + other)
    assert made.exists()
    assert strange.exists()
    assert here.inside("rm", "--prompts", "--yes").stdout == b"nothing to remove\n"


def test_rm_prompts_leaves_what_is_in_use(here: Run) -> None:
    busy, idle = with_prompts(here, "1" * 64, 4096, 4096)
    with busy.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert as_json(here, "rm", "--prompts", "--yes")["freed"] == 4096
    assert (busy.exists(), idle.exists()) == (True, False)


def test_a_removed_model_takes_its_own_prompts_with_it(here: Run, nano: Path) -> None:
    own = with_prompts(here, fingerprint(with_nano(here, nano)), 4096)
    other = with_prompts(here, "0" * 64, 4096)
    assert as_json(here, "rm", "nano", "--yes")["freed"] > 4096
    assert (own[0].exists(), other[0].exists()) == (False, True)


def test_rm_leftovers(here: Run) -> None:
    folder = here.home / "cache/converted"
    folder.mkdir(parents=True)
    idle, busy = folder / "idle.gguf.part", folder / "busy.gguf.part"
    for file in (idle, busy):
        file.write_bytes(b"x" * 4096)
    refused = here.inside("rm", "--leftovers")
    assert (refused.returncode, b"--yes" in refused.stderr, idle.exists()) == (2, True, True)
    with busy.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = as_json(here, "rm", "--leftovers", "--yes")
        assert (idle.exists(), busy.exists()) == (False, True)
        assert [(one["deleted"], one["stays"], one["why"]) for one in found["removed"]] == [
            ([], [str(busy)], "a process is writing it"),
            ([str(idle)], [], ""),
        ]
        assert found["freed"] == 4096
    assert here.inside("rm", "--leftovers", "--yes").returncode == 0
    assert not busy.exists()
    assert here.inside("rm", "--leftovers").stdout == b"nothing to remove\n"
