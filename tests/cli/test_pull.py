"""Proves that ``dslocal pull`` takes the better way and says why, asks before a large download, and
leaves a model that answers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.cli.running import BINARY, Run
from support.gguf.published_shapes import write_header
from support.hub.hub_clients import hub_for_dslocal
from support.hub.local_hub import LocalHub
from support.waiting import output_of

from dslocal.catalog import conversion_cache
from dslocal.catalog.registry.registry_schema import CONFIG
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine

GIB = 1 << 30
HERE = Machine("linux", "some CPU", 4, 16 * GIB, 12 * GIB)
TINY = Machine("linux", "some CPU", 4, GIB >> 2, GIB >> 6)
HASH = "ab" * 32
ENTRY = """
models:
  like:
    title: V3-like
    repository: test/v3-like
    licence: MIT
    family: v3
    quant: Q8_0
    quants: [Q8_0, Q4_K_M]
    context: 4096
    parameters: {parameters}
    dtype: bf16
    config: {config}
    {more}
"""
READY = "gguf: [{repository: me/like-GGUF, files: {Q8_0: like-Q8_0.gguf}}]"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """With a home of its own: what one test pulls, the next does not have."""
    (tmp_path / "home").mkdir()
    return Run(tmp_path / "home")


@pytest.fixture
def hub(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(probe, "probe_machine", lambda: HERE)
    state = run.home / "state"
    state.mkdir(exist_ok=True)
    (state / "memory-rates.json").write_text(
        json.dumps({f"{m.cpu} × {m.cores}": {"ram": 2e10, "ssd": 3e9} for m in (HERE,)})
    )
    with hub_for_dslocal(tmp_path / "hf") as running:
        yield running


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(
        tmp_path / "v3-like",
        "deepseek-v3",
        shards=3,
        max_position_embeddings=4096,
        rope_scaling=None,
    )


def listed(run: Run, checkpoint: Path, *, more: str = "", parameters: float = 0.01) -> None:
    """An entry of the user's own for what is on the hub."""
    config = json.loads((checkpoint / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key in CONFIG and value is not None}
    folder = run.home / "config"
    folder.mkdir(exist_ok=True)
    (folder / "models.yaml").write_text(
        ENTRY.format(config=json.dumps(kept), more=more, parameters=parameters)
    )


def converted(run: Run, checkpoint: Path, out: Path, quant: str = "Q8_0") -> Path:
    assert run.inside("convert", checkpoint, "-o", out, "--quant", quant).returncode == 0
    return out


def dry(run: Run, *args: str) -> dict[str, Any]:
    done = run.inside("pull", *args, "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_ready_made_file_is_downloaded_used_and_removed(
    run: Run, hub: LocalHub, tmp_path: Path
) -> None:
    hub.add("me/nano-GGUF", {"nano-Q8_0.gguf": models_of(run)})
    done = run.inside("pull", "me/nano-GGUF")
    assert done.returncode == 0, done.stderr
    assert b"nano-gguf:Q8_0 is here" in done.stdout
    assert b"ready-made, from hf:me/nano-GGUF" in done.stderr
    answer = run.inside("ask", "-m", "nano-gguf", "--final", "What is 12 * 7?")
    assert (answer.returncode, answer.stdout) == (0, b"84\n"), answer.stderr
    hub.forget()
    again = run.inside("pull", "me/nano-GGUF")
    assert (again.returncode, b"is here already" in again.stdout, hub.requests) == (0, True, [])
    assert run.inside("rm", "nano-gguf", "--yes").returncode == 0
    assert not list((tmp_path / "hf").rglob("*.gguf"))
    assert run.inside("ask", "-m", "nano-gguf", "x").returncode == 3


def test_a_place_that_cannot_be_written_is_found_before_the_download(
    run: Run, hub: LocalHub
) -> None:
    hub.add("me/nano-GGUF", {"nano-Q8_0.gguf": models_of(run)})
    (run.home / "state" / "models").symlink_to("/sys/kernel")  # nobody can make a file there
    done = run.inside("pull", "me/nano-GGUF", "--json")
    assert done.returncode == 1
    assert b"models: cannot be written to: Permission denied" in done.stderr
    assert hub.complete_fetches("nano-Q8_0.gguf") == 0


def models_of(run: Run) -> Path:
    """nano's own GGUF, converted in ``run``'s home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(run.home))
        return conversion_cache.ensure_gguf("nano")


def test_a_checkpoint_is_converted_as_it_comes(
    run: Run, hub: LocalHub, checkpoint: Path, tmp_path: Path
) -> None:
    hub.add("test/v3-like", checkpoint)
    done = run.inside("pull", "test/v3-like", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["quant"], found["origin"][:16]) == (
        "v3-like",
        "Q8_0",
        "hf:test/v3-like@",
    )
    whole = tmp_path / "w.gguf"
    assert run.inside("convert", "test/v3-like", "-o", whole, "--quant", "Q8_0").returncode == 0
    assert Path(found["path"]).read_bytes() == whole.read_bytes()
    assert [hub.complete_fetches(file.name) for file in checkpoint.glob("*.safetensors")] == [
        2,
        2,
        2,
    ]  # once streamed, once whole
    assert not list(Path(found["path"]).parent.glob("*.stream"))
    hub.forget()
    assert (
        run.inside("pull", "test/v3-like", "--quant", "Q4_K_M").returncode == 0
    )  # from what convert has downloaded
    assert {one.file for one in hub.requests} <= {"", "config.json"}  # its plan
    listing = json.loads(run.inside("models", "--json").stdout)
    assert "Q4_K_M" in json.dumps(listing)


@pytest.mark.parametrize("origin", ["hub", "url"])
def test_a_checkpoint_that_was_downloaded_whole_is_known_and_removed(
    run: Run, hub: LocalHub, checkpoint: Path, tmp_path: Path, origin: str
) -> None:
    hub.add("test/v3-like", checkpoint)
    url = hub.serve_folder("/files/v3-like", checkpoint)
    assert (
        run.inside(
            "convert", "test/v3-like" if origin == "hub" else url, "-o", tmp_path / "w.gguf"
        ).returncode
        == 0
    )
    listed = json.loads(run.inside("models", "--json").stdout)["models"]
    size = sum(file.stat().st_size for file in checkpoint.iterdir())
    assert [
        (one["name"], one["quant"], one["bytes"]) for one in listed if one["how"] == "downloaded"
    ] == [("v3-like", "checkpoint", size)]
    hub.forget()
    assert json.loads(run.inside("show", "v3-like", "--json").stdout)["shards"] == 3
    assert run.inside("rm", "v3-like", "--yes").returncode == 0
    assert hub.requests == []
    assert not [
        file for root in (tmp_path / "hf", run.home) for file in root.rglob("*.safetensors")
    ]


def test_a_split_file_is_one_model(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    assert (
        run.inside(
            "convert",
            "nano",
            "-o",
            folder / "n-Q8_0.gguf",
            "--quant",
            "Q8_0",
            "--split-size",
            "6MB",
        ).returncode
        == 0
    )
    parts = sorted(file.name for file in folder.iterdir())
    assert len(parts) > 2
    hub.add("me/nano-GGUF", folder)
    done = run.inside("pull", "me/nano-GGUF", "--json")
    assert (done.returncode, [hub.complete_fetches(part) for part in parts]) == (
        0,
        [1] * len(parts),
    ), done.stderr
    assert run.inside("ask", "-m", "nano-gguf", "--final", "What is 12 * 7?").stdout == b"84\n"
    near, far = (
        json.loads(run.inside("fit", name, "--json").stdout)["memory"]["weights"]
        for name in ("nano-gguf", "nano")
    )
    assert near == pytest.approx(far, rel=0.001)


@pytest.mark.parametrize(
    ("args", "more", "way", "quant"),
    [
        ((), READY, "ready-made", "Q8_0"),
        (("--convert",), READY, "converted", "Q8_0"),
        (("--gguf",), READY, "ready-made", "Q8_0"),
        (("--quant", "Q4_K_M"), READY, "converted", "Q4_K_M"),
        ((), "", "converted", "Q8_0"),
        ((), READY.replace("like-Q8_0.gguf", "gone-Q8_0.gguf"), "converted", "Q8_0"),
        ((), READY.replace("me/like-GGUF", "me/legacy-GGUF"), "converted", "Q8_0"),
    ],
    ids=[
        "both",
        "--convert",
        "--gguf",
        "another quantization",
        "no ready-made",
        "ready-made no longer exists",
        "ready-made is an old file",
    ],
)
def test_the_way(
    run: Run,
    hub: LocalHub,
    checkpoint: Path,
    tmp_path: Path,
    args: tuple[str, ...],
    more: str,
    way: str,
    quant: str,
) -> None:
    hub.add("test/v3-like", checkpoint)
    hub.add("me/like-GGUF", {"like-Q8_0.gguf": converted(run, checkpoint, tmp_path / "r.gguf")})
    hub.add(
        "me/legacy-GGUF",
        {"like-Q8_0.gguf": write_header(tmp_path, "v2-lite", legacy=True)},
        sha256={"like-Q8_0.gguf": HASH},
    )
    listed(run, checkpoint, more=more)
    found = dry(run, "like", *args)
    assert (found["way"], found["quant"]) == (way, quant)
    assert found["why"]
    assert found["disk"] >= (found["download"] if way == "ready-made" else 0)


def test_the_way_that_the_disk_has_room_for(
    run: Run, hub: LocalHub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("test/v3-like", checkpoint)
    ready = converted(run, checkpoint, tmp_path / "r.gguf")
    hub.add("me/like-GGUF", {"like-Q8_0.gguf": ready})
    listed(run, checkpoint, more=READY)
    size = ready.stat().st_size
    for free, code in ((size + 1000, 0), (size - 1, 1)):
        monkeypatch.setattr(
            shutil,
            "disk_usage",
            lambda folder, free=free: shutil._ntuple_diskusage(10**12, 0, free),
        )
        done = run.inside("pull", "like", "--dry-run")
        assert done.returncode == code, done.stderr
    assert b"of disk are needed" in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1)])
def test_it_asks_before_much(
    run: Run, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    big = write_header(tmp_path, "llm-67b", recipe="Q2_K")
    assert big.stat().st_size > 20e9
    room = shutil._ntuple_diskusage(10**13, 0, 10**13)  # whatever this machine's disk has left
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: room)
    hub.add("me/big-GGUF", {"big-Q2_K.gguf": big}, sha256={"big-Q2_K.gguf": HASH})
    nobody = run.inside("pull", "me/big-GGUF", "--quant", "Q2_K")
    assert (nobody.returncode, b"--yes" in nobody.stderr) == (2, True)
    monkeypatch.setattr("dslocal.cli.commands.pull._has_user", lambda: True)
    done = run.inside("pull", "me/big-GGUF", "--quant", "Q2_K", stdin=answer.encode())
    assert done.returncode == code
    assert hub.sent("big-Q2_K.gguf") < 20e6


def test_what_cannot_run_is_refused_unless_asked_for(
    run: Run, hub: LocalHub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("test/v3-like", checkpoint)
    monkeypatch.setattr(probe, "probe_machine", lambda: TINY)
    (run.home / "state" / "memory-rates.json").write_text(
        json.dumps({f"{TINY.cpu} × {TINY.cores}": {"ram": 2e10, "ssd": 3e9}})
    )
    done = run.inside("pull", "test/v3-like")
    assert (done.returncode, b"--quant" in done.stderr) == (4, True), done.stderr
    done = run.inside("pull", "test/v3-like", "--quant", "Q8_0")
    assert (done.returncode, b"cannot run here" in done.stderr) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("nothing",), 3, "no model or file"),
        (("test/nothing",), 3, "no such repository"),
        (("test/v3-like", "--gguf", "--convert"), 2, "cannot be combined"),
        (("test/v3-like", "--gguf"), 3, "models.yaml names no checked ready-made file"),
        (("test/v3-like", "--quant", "Q99"), 2, "Q99"),
        (("test/v3-like", "--quant", "iq2_xxs"), 2, "IQ2_XXS needs an importance matrix"),
        (("deepseek-v4-flash-base:v4-iq2",), 2, "--quant V4-IQ2 --imatrix auto"),
        (("deepseek-v4-flash:V4-IQ2", "--convert"), 2, "--quant V4-IQ2 --imatrix auto"),
        (("nano", "--revision", "x"), 2, "--revision"),
        (("deepseek-llm-67b-base",), 3, "pickled"),
        (("hf:a/b/../c",), 2, "not a name on the hub"),
    ],
)
def test_refused(
    run: Run, hub: LocalHub, checkpoint: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    hub.commit("test/v3-like", checkpoint)
    done = run.inside("pull", *args)
    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done.stderr
    assert said in done.stderr.decode()


def test_what_is_here_is_said_to_be(run: Run, hub: LocalHub) -> None:
    done = run.inside("pull", "nano")
    assert (done.returncode, b"is here already" in done.stdout) == (0, True)


def test_two_processes_pull_at_once(run: Run, tmp_path: Path) -> None:
    """The second waits for the first, and fetches nothing."""
    ready = models_of(run)
    with hub_for_dslocal(tmp_path / "unused") as hub:
        hub.add("me/nano-GGUF", {"nano-Q8_0.gguf": ready})
        hub.fault("nano-Q8_0.gguf", "slow", None, rate=10e6)
        env = run.env(
            {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        )
        command = [str(BINARY), "pull", "me/nano-GGUF", "--json"]
        both = [
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
            )
            for _ in range(2)
        ]
        said = [output_of(process) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert said[0][0] == said[1][0]
        assert hub.complete_fetches("nano-Q8_0.gguf") == 1
    assert sys.platform == "win32" or any(b"waiting for it" in err for _, err in said)
