"""Proves what ``dslocal fit`` prints, for people in 80 columns and as JSON, for every kind of
model, machine, override and mistake.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run
from support.gguf.published_shapes import write_header
from support.machines.planning import REGISTRY

from dslocal.cli.chatting.introduction import introduction
from dslocal.cli.session_setup import ModelFile
from dslocal.gguf.header import read_header
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Gpu, Machine
from dslocal.prompts import FAMILIES

GIB = 1 << 30
QWEN, V3 = "deepseek-r1-distill-qwen-7b", "deepseek-v3"
HERE = Machine("linux", "some CPU", 4, 16 * GIB, 12 * GIB)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """This machine is always the same, and its rates are known."""
    monkeypatch.setattr(probe, "probe_machine", lambda: HERE)
    state = run.home / "state"
    state.mkdir(exist_ok=True)
    (state / "rates.json").write_text(
        json.dumps({f"{m.cpu} × {m.cores}": {"ram": 2e10, "ssd": 3e9} for m in (HERE,)})
    )


def table(run: Run, *args: str | Path) -> dict[str, dict[str, Any]]:
    done = run.inside("fit", "--json", *args)
    assert (done.returncode, done.stderr) == (0, b"")
    return {row["model"]: row for row in json.loads(done.stdout)["models"]}


def one(run: Run, *args: str | Path) -> dict[str, Any]:
    done = run.inside("fit", "--json", *args)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def text(run: Run, *args: str | Path) -> str:
    done = run.inside("fit", *args, env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    shown = done.stdout.decode()
    assert max(len(line) for line in shown.splitlines()) <= 80
    return shown


MACHINES = [
    [],
    ["--ram", "8GB", "--vram", "0"],
    ["--ram", "64GB", "--vram", "24GB"],
    ["--ram", "512GB", "--os", "macos"],
    ["--ram", "1GiB"],
]


GROUPS = {
    "cannot run here": ("–", ["no"]),
    "from the SSD": ("SSD", ["ssd"]),
    "slow: less than 8 tokens a second": (None, ["gpu", "offload", "cpu"]),
    "runs well here": (None, ["gpu", "offload", "cpu"]),
}
PLACES = {"gpu": "GPU", "offload": "GPU+CPU", "cpu": "CPU", "ssd": "SSD", "no": "–"}


def middle(row: dict[str, Any]) -> float:
    speed = row["tokens_per_s"]
    return float((speed["low"] * speed["high"]) ** 0.5)


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_table(run: Run, args: list[str]) -> None:
    shown, rows = text(run, *args, "--all"), table(run, *args)
    assert list(rows) == [
        entry.name
        for entry in sorted(REGISTRY.values(), key=lambda entry: (entry.parameters, entry.name))
    ]
    group = ""
    seen: set[str] = set()
    titles: list[str] = []
    for line in shown.splitlines():
        words = line.removeprefix("→").split()
        if line in GROUPS:
            group = line
            titles.append(line)
        elif words and words[0] in rows and not line.startswith("Take"):
            row = rows[words[0]]
            seen.add(words[0])  # every model, its name whole
            assert row["verdict"] in GROUPS[group][1]
            assert words[1:3] == [row["quant"], PLACES[row["verdict"]]]
            if row["verdict"] in ("gpu", "offload", "cpu"):
                assert (middle(row) >= 7.99) == (group == "runs well here")
            assert "…" not in line
    assert seen == set(rows)
    assert titles == [title for title in GROUPS if title in titles]  # what runs well stands last


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_what_few_people_want_is_shown_with_all_alone(run: Run, args: list[str]) -> None:
    shown, rows = text(run, *args), table(run, *args)
    names = {line.removeprefix("→").split()[0] for line in shown.splitlines() if line.strip()}
    for name, row in rows.items():
        assert (name in names) == (REGISTRY[name].is_usual and row["verdict"] != "no"), name
    assert "more: --all" in shown
    # on a small terminal the end is what one sees: what runs well, and what to take
    last = shown.splitlines()[-23:]
    if any(
        rows[name]["verdict"] in PLACES and middle(rows[name]) >= 8 for name in names & set(rows)
    ):
        assert "runs well here" in last


RECOMMENDED = [
    (["--ram", "64GB", "--vram", "24GB"], "deepseek-r1-distill-qwen-32b"),
    (
        ["--ram", "32GB", "--gpu", "RTX 3060", "--cpu", "Ryzen 5 5600X"],
        "deepseek-r1-distill-qwen-14b",
    ),
    (["--ram", "512GB", "--os", "macos", "--chip", "M3 Ultra"], "deepseek-r1-0528"),
    (["--ram", "16GB", "--os", "macos", "--chip", "M2"], "deepseek-r1-0528-qwen3-8b"),
]


@pytest.mark.parametrize(("args", "name"), RECOMMENDED)
def test_one_model_is_recommended_with_its_command(run: Run, args: list[str], name: str) -> None:
    shown = text(run, *args).splitlines()
    found = json.loads(run.inside("fit", "--json", *args).stdout)
    quant = next(row["quant"] for row in found["models"] if row["model"] == name)
    assert found["recommended"] == name
    assert shown[-2].startswith(f"Take this one: {name} {quant}, ")
    assert shown[-1] == f"  dslocal pull {name}"
    assert any(line.startswith(f"→ {name}") for line in shown)


def test_what_is_fast_enough_can_be_said(run: Run) -> None:
    assert one(run, QWEN, "--ram", "64GB", "--min-speed", "1")["quant"] == "Q8_0"
    assert one(run, QWEN, "--ram", "64GB")["quant"] == "Q4_K_M"
    config = run.home / "config"
    config.mkdir(exist_ok=True)
    (config / "config.toml").write_text("min_speed = 1\n")
    try:
        assert one(run, QWEN, "--ram", "64GB")["quant"] == "Q8_0"
        assert one(run, QWEN, "--ram", "64GB", "--min-speed", "20")["quant"] == "Q4_K_M"
        assert "slow: less than 1 token" not in text(run, "--ram", "64GB")
    finally:
        (config / "config.toml").unlink()
    done = run.inside("fit", "--min-speed", "-1")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--min-speed" in done.stderr


def test_table_takes_the_quantization_to_take_here(run: Run) -> None:
    rows = table(run)
    found = {name: (row["quant"], row["verdict"]) for name, row in rows.items()}
    assert found["deepseek-r1-distill-qwen-1.5b"] == ("Q8_0", "cpu")  # fast enough
    assert found[QWEN] == ("Q4_K_M", "cpu")  # none is: the fastest that is good
    assert found["deepseek-r1-distill-qwen-14b"] == ("Q4_K_M", "cpu")  # Q8_0 does not fit
    assert found[V3] == ("Q2_K", "ssd")
    for name in (QWEN, "deepseek-r1-distill-qwen-1.5b", V3):
        assert one(run, name)["quant"] == rows[name]["quant"]  # the same wherever one looks
    assert {row["quant"] for row in table(run, "--quant", "Q3_K_M").values()} == {"Q3_K_M"}


def test_the_quantizations_are_those_that_the_model_recommends(run: Run) -> None:
    assert table(run, "--ram", "360GB")[V3]["quant"] == "Q3_K_M"
    assert re.findall(r"\bQ\w+(?=: )", text(run, V3, "--ram", "512GB")) == [
        "Q8_0",
        "Q3_K_M",
        "Q2_K",
    ]
    for name in (QWEN, REGISTRY["nano"].folder):
        assert re.findall(r"\bQ\w+(?=: )", text(run, name)) == ["Q8_0", "Q2_K"]  # beside Q4_K_M


def test_table_with_overrides(run: Run) -> None:
    rows = table(run, "--ctx", "8192", "--kv", "q4_0")
    assert {row["plan"]["kv_type"] for row in rows.values()} == {"q4_0"}
    assert rows[V3]["plan"]["n_ctx"] == 8192
    assert rows["deepseek-llm-7b-chat"]["plan"]["n_ctx"] == 4096  # it has no more


FIELDS = {
    "": [
        "model",
        "quant",
        "machine",
        "plan",
        "memory",
        "verdict",
        "lacking",
        "tokens_per_s",
        "machines",
        "gave_up",
        "download",
        "disk_to_convert",
        "method",
    ],
    "machine": [
        "os",
        "cpu",
        "cores",
        "ram",
        "ram_available",
        "gpu",
        "unified",
        "bandwidth",
        "limited_by",
        "notes",
    ],
    "plan": [
        "n_ctx",
        "kv_type",
        "n_ubatch",
        "flash_attn",
        "n_gpu_layers",
        "cpu_moe_layers",
        "load_mode",
        "stream_experts",
        "split",
        "repack",
    ],
    "memory": ["weights", "kv", "compute", "output", "overhead", "total", "gpu", "host"],
    "tokens_per_s": ["low", "high"],
}


def check(row: dict[str, Any]) -> None:
    for part, names in FIELDS.items():
        assert list(row[part] if part else row) == names
    memory = row["memory"]
    assert (
        memory["total"]
        == sum(memory[part] for part in FIELDS["memory"][:5])
        == memory["gpu"] + memory["host"]
    )
    assert row["verdict"] in ("gpu", "offload", "cpu", "ssd", "no")
    assert (row["tokens_per_s"]["high"] > 0) == (row["verdict"] != "no")
    assert all(
        list(step) == ["what", "saved"] and isinstance(step["saved"], int)
        for step in row["gave_up"]
    )
    assert row["plan"]["kv_type"] in ("f16", "q8_0", "q4_0")
    assert all(
        list(gpu) == ["name", "kind", "total", "free", "bandwidth"] for gpu in row["machine"]["gpu"]
    )


@pytest.mark.parametrize("args", MACHINES, ids=" ".join)
def test_json_fields(run: Run, args: list[str]) -> None:
    for row in table(run, *args).values():
        check(row)


def test_a_name(run: Run) -> None:
    found = one(run, QWEN.upper())
    check(found)
    assert (found["model"], found["quant"], found["verdict"]) == (QWEN, "Q4_K_M", "cpu")
    assert (found["machine"]["ram"], found["machine"]["ram_available"]) == (16 * GIB, 12 * GIB)
    assert found["method"] == "ready-made"
    assert found["download"] == found["disk_to_convert"] == pytest.approx(4.68e9, rel=0.01)
    assert one(run, QWEN, "--quant", "q8_0")["quant"] == "Q8_0"
    assert one(run, QWEN, "--quant", "q8_0")["disk_to_convert"] > found["disk_to_convert"] + 3e9
    converted = one(run, "deepseek-v2-lite-chat", "--quant", "Q4_K_M")
    assert converted["method"] == "converted"
    assert converted["download"] == pytest.approx(31.4e9, rel=0.01)
    assert converted["disk_to_convert"] == pytest.approx(10.4e9 + 18e9, rel=0.01)  # two shards
    assert one(run, "nano")["download"] == 0
    shown = text(run, QWEN)
    assert "runs      on the CPU" in shown
    assert "32,768 tokens of context, f16 KV cache, micro-batches of 512" in shown
    assert "download  4.7 GB, a ready-made file" in shown
    planned = " ".join(text(run, "deepseek-v2-lite-chat", "--quant", "Q4_K_M").split())
    assert "31.4 GB, the checkpoint, which is converted; 28.4 GB of disk at most" in planned
    assert "with      Q8_0: on the CPU" in shown


def test_a_gguf_file(run: Run, nano: Path, tmp_path: Path) -> None:
    shutil.copyfile(nano, tmp_path / "my model.gguf")
    found = one(run, tmp_path / "my model.gguf")
    check(found)
    assert (found["quant"], found["verdict"], found["download"], found["disk_to_convert"]) == (
        "Q8_0",
        "cpu",
        0,
        0,
    )
    assert "download" not in text(run, tmp_path / "my model.gguf")
    large = write_header(tmp_path, "v3", words=True)
    assert one(run, large)["verdict"] == "ssd"
    assert one(run, large, "--ram", "512GB")["quant"] == "Q4_K"


def test_a_checkpoint_folder(run: Run) -> None:
    folder = REGISTRY["nano"].folder
    found, named = one(run, folder), one(run, "nano", "--quant", "Q4_K_M")
    check(found)
    assert (found["quant"], found["download"]) == ("Q4_K_M", 0)
    assert found["memory"] == named["memory"]
    assert found["disk_to_convert"] == named["disk_to_convert"] > 0


def test_a_legacy_mla_file_is_named_with_both_sizes(run: Run, tmp_path: Path) -> None:
    args = ("--ram", "1024GB", "--ctx", "32768", "--kv", "f16")
    old = write_header(tmp_path, "v3", legacy=True, words=True)
    shown = " ".join(text(run, old, *args).split())
    assert (
        "old file made before llama.cpp kept MLA's cache compressed: 152.5 GiB for 32,768 tokens"
        in shown
    )
    assert "a file made today takes 2.1 GiB" in shown
    assert "old file" not in text(run, write_header(tmp_path, "v3", words=True), *args)


def test_explain(run: Run) -> None:
    for args in ([], [QWEN], [V3, "--ram", "64GB", "--vram", "24GB"]):
        shown = text(run, *args, "--explain")
        assert "GPT-3 175B 4,718,592" in " ".join(shown.split())
        assert (
            "V2's cache at 6 bits, as it is deployed, is 25,920 bytes a token: 93.3% less than"
            " the 67B's 389,120"
        ) in " ".join(shown.split())
    assert "KV cache (MLA): 61 layers × 576 values in f16 = 70,272 bytes a token" in shown
    for tier in ("GPU:", "RAM:", "SSD:"):
        assert tier in shown
    assert "routed experts" in shown
    assert "models" in json.loads(run.inside("fit", "--explain", "--json").stdout)


OVERRIDES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "context": (["--ctx", "5000"], {"n_ctx": 5000}),
    "cache": (["--kv", "Q8_0"], {"kv_type": "q8_0"}),
    "micro-batch": (["--ubatch", "2048"], {"n_ubatch": 2048}),
    "no flash attention": (["--no-flash-attn"], {"flash_attn": False, "kv_type": "f16"}),
    "flash attention": (["--flash-attn"], {"flash_attn": True}),
    "no layers": (["--n-gpu-layers", "0"], {"n_gpu_layers": 0, "cpu_moe_layers": 0}),
    "some layers": (["--n-gpu-layers", "5"], {"n_gpu_layers": 5}),
    "all experts in RAM": (["--cpu-moe", "all"], {"cpu_moe_layers": 26}),
    "some": (["--cpu-moe", "3"], {"cpu_moe_layers": 3}),
    "as it fits": (["--cpu-moe", "AUTO"], {"cpu_moe_layers": 0}),
    "all at once": (
        [
            "--ctx",
            "8192",
            "--kv",
            "q4_0",
            "--ubatch",
            "64",
            "--n-gpu-layers",
            "20",
            "--cpu-moe",
            "4",
        ],
        {"n_ctx": 8192, "kv_type": "q4_0", "n_ubatch": 64, "n_gpu_layers": 20, "cpu_moe_layers": 4},
    ),
}


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("vram", ["24GB", "2GB"])
def test_overrides(run: Run, name: str, vram: str) -> None:
    args, expected = OVERRIDES[name]
    found = one(run, "deepseek-v2-lite", "--ram", "64GB", "--vram", vram, *args)
    if "AUTO" not in args or vram == "24GB":
        assert {key: found["plan"][key] for key in expected} == expected


WRONG: dict[str, tuple[list[str], int, str]] = {
    "context too small": (["--ctx", "100"], 2, "--ctx: 100 is out of range"),
    "context too large": ([QWEN, "--ctx", "999999"], 2, "--ctx: 999999 is out of range"),
    "context is not a number": (["--ctx", "many"], 2, "--ctx"),
    "cache": (["--kv", "q5_0"], 2, "--kv: 'q5_0' is not known (f16, q8_0, q4_0)"),
    "cache without flash attention": (
        [QWEN, "--kv", "q8_0", "--no-flash-attn"],
        2,
        "a q8_0 KV cache needs flash attention",
    ),
    "micro-batch of none": (["--ubatch", "0"], 2, "--ubatch: 0 is out of range"),
    "too large a micro-batch": (["--ubatch", "99999"], 2, "--ubatch: 99999 is out of range"),
    "layers": (["--n-gpu-layers", "-1"], 2, "--n-gpu-layers: -1 is out of range"),
    "experts": (["--cpu-moe", "some"], 2, "--cpu-moe: 'some' is not a number of layers"),
    "experts under none": (["--cpu-moe", "-1"], 2, "--cpu-moe"),
    "OS": (["--os", "plan9"], 2, "--os: 'plan9' is not known (linux, macos, windows)"),
    "RAM": (["--ram", "much"], 2, "--ram: 'much' is not a size of memory"),
    "no RAM": (["--ram", "0"], 2, "--ram: '0' is not a size of memory"),
    "VRAM": (["--vram", "-3"], 2, "--vram: '-3' is not a size of memory"),
    "quantization": ([QWEN, "--quant", "Q9"], 2, "Q9"),
    "model": (["deepseek-v9"], 3, "no model or file called 'deepseek-v9'"),
    "file": (["/no/file.gguf"], 3, "/no/file.gguf"),
    "folder": (["/"], 3, "config.json"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_one_line(run: Run, name: str) -> None:
    args, code, said = WRONG[name]
    done = run.inside("fit", *args)
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    assert said in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_gguf_is_what_it_is(run: Run, nano: Path) -> None:
    done = run.inside("fit", nano, "--quant", "Q4_K_M")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--quant: " in done.stderr


def test_machines_that_are_described(run: Run) -> None:
    def machine(*args: str) -> dict[str, Any]:
        found: dict[str, Any] = one(run, QWEN, *args)["machine"]
        return found

    for size in ("64GB", "64gb", "64G", "64GiB", "64gi", "65536M", str(64 * GIB)):
        assert machine("--ram", size)["ram"] == 64 * GIB  # memory is sold in binary units
    linux = machine("--ram", "64GB", "--os", "linux")
    assert (linux["os"], linux["gpu"], linux["unified"], linux["ram_available"]) == (
        "linux",
        [],
        False,
        63 * GIB,
    )
    assert machine("--ram", "64GB", "--vram", "24GB", "--os", "linux")["gpu"][0]["free"] == 24 * GIB
    apple = machine("--ram", "64GB", "--os", "macos")
    assert (apple["unified"], apple["gpu"][0]["free"]) == (True, 48 * GIB)
    assert apple["gpu"][0]["bandwidth"] == 400e9
    assert machine("--ram", "64GB", "--vram", "56GB", "--os", "MacOS")["gpu"][0]["free"] == 56 * GIB
    assert machine("--os", "windows")["ram"] == 16 * GIB  # this one's
    assert machine("--os", "windows")["ram_available"] == 12 * GIB
    assert any("described" in note for note in apple["notes"])


def test_vram_alone_keeps_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = one(run, QWEN, "--quant", "Q4_K_M", "--vram", "8GB")
    assert (found["machine"]["cpu"], found["machine"]["ram_available"], found["verdict"]) == (
        "some CPU",
        12 * GIB,
        "gpu",
    )
    assert found["machine"]["bandwidth"] == 2e10  # as measured
    cards = dataclasses.replace(HERE, gpus=(Gpu("NVIDIA H200", "cuda", 140 * GIB, 139 * GIB),) * 2)
    monkeypatch.setattr(probe, "probe_machine", lambda: cards)
    capped = one(run, "deepseek-v2-lite", "--quant", "Q8_0", "--vram", "8GB")
    assert capped["machine"]["gpu"] == [
        {
            "name": "NVIDIA H200",
            "kind": "cuda",
            "total": 140 * GIB,
            "free": 8 * GIB,
            "bandwidth": 4800 * 10**9,
        }
    ]
    assert (capped["verdict"], capped["memory"]["gpu"] <= 8 * GIB) == ("offload", True)
    none = one(run, QWEN, "--vram", "0")
    assert (none["machine"]["gpu"], none["verdict"]) == ([], "cpu")


def test_what_would_change_it(run: Run) -> None:
    shown = text(run, "deepseek-r1-distill-qwen-32b", "--ram", "16GB", "--quant", "Q4_K_M")
    assert "from the SSD: the weights are" in shown
    assert "32.0 GiB of RAM: on the CPU" in " ".join(shown.split())
    assert "Q2_K: " in shown
    gave = text(run, "deepseek-v2", "--ram", "128GB", "--vram", "24GB")
    assert "KV cache in q8_0: saved " in gave
    assert re.search(r"experts of 5\d of 59 layers on the CPU: saved 1\d\d.\d GiB", gave)
    assert "not here: " in text(run, V3, "--ram", "1GB")


def test_a_faster_quantization_is_named_where_a_token_takes_seconds(run: Run) -> None:
    q4_k_m = text(run, V3, "--ram", "64GB", "--quant", "Q4_K_M")
    assert re.search(r"^faster +Q2_K, \S+ tokens/s *$", q4_k_m, re.MULTILINE)
    assert "faster" not in text(run, V3, "--ram", "64GB", "--quant", "Q2_K")
    assert "faster" not in text(run, QWEN, "--ram", "64GB")


def test_ram_and_ssd_are_shown_apart(run: Run) -> None:
    """Proves that "memory" is what the RAM holds, and that a model which runs well is named."""
    args = (V3, "--ram", "64GB", "--quant", "Q2_K")
    shown, found = text(run, *args), one(run, *args)
    assert found["verdict"] == "ssd"
    held = found["memory"]["total"] - found["lacking"]
    assert held <= found["machine"]["ram_available"] < found["memory"]["total"]
    rows = {line[:10].strip(): line[10:] for line in shown.splitlines() if line[:1].strip()}
    assert rows["memory"].startswith(f"{held / GIB:.1f} GiB: ")
    assert rows["SSD"].startswith(f"{found['lacking'] / GIB:.1f} GiB: ")
    assert rows["instead"].startswith("dslocal pull deepseek-r1-")
    for larger in ("Q4_K_M", "Q8_0"):
        assert re.search(rf"{larger}: \S+ GiB from the SSD, 32k context, \S+ tokens/s", shown)
    table_row = next(
        line for line in text(run, "--ram", "64GB", "--all").splitlines() if f" {V3} " in line
    )
    assert table_row.split()[3] == f"{held / GIB:.0f}"
    assert "instead" not in text(run, QWEN, "--ram", "64GB")


PIPED = [
    [],
    ["--all"],
    ["--explain"],
    [QWEN, "--ram", "64GB", "--explain"],
    [V3, "--ram", "64GB", "--explain"],
]


@pytest.mark.parametrize("args", PIPED, ids=" ".join)
def test_lines_are_whole_in_a_pipe(
    run: Run, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """Proves that no line is broken or padded where no terminal needs it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = run.inside("fit", *args).stdout.decode().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    monkeypatch.setenv("COLUMNS", "40")
    narrow = run.inside("fit", *args).stdout.decode().splitlines()
    assert len(narrow) > len(lines)


def test_one_recommendation_has_one_figure(run: Run, nano: Path) -> None:
    """Proves that the table, the model's own plan, ``pull`` and the chat say the same."""
    table_line = next(line for line in text(run).splitlines() if line.startswith("Take this one: "))
    name, what = table_line.removeprefix("Take this one: ").split(" ", 1)
    quant, speed, size = what.split(", ")
    report = text(run, name)
    assert f"{name}, {quant}\n" in report
    assert f"forecast  {speed} (" in report
    assert f"download  {size}, " in report
    pulled = run.inside("pull", name, "--dry-run", env={"HF_HUB_OFFLINE": "1"}).stdout.decode()
    assert f"{name} {quant}: about {size} to fetch" in pulled
    assert f"about {speed}\n" in pulled
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(run.home))
        shown = introduction(ModelFile(nano, read_header(nano), FAMILIES["r1"]))
    assert f"dslocal pull {name}, in the shell ({what})" in " ".join(shown)


def test_what_keeps_a_quantization_from_being_fetched_is_said(run: Run) -> None:
    needs = text(run, "deepseek-v4-flash-base:V4-IQ2", "--ram", "24GiB", "--vram", "0")
    assert "by dslocal convert --imatrix auto" in " ".join(needs.split())
    pickled = text(run, "deepseek-llm-67b-base:Q8_0", "--ram", "24GiB", "--vram", "0")
    assert "only pickled weights, which are never opened" in " ".join(pickled.split())


def test_a_hostile_name_is_harmless(run: Run, tmp_path: Path, nano: Path) -> None:
    file = tmp_path / "a\x1b[31m\nb.gguf"
    data = nano.read_bytes().replace(b"general.name", b"general.nama")
    file.write_bytes(data)
    done = run.inside("fit", file, env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert "\x1b" not in run.inside("fit", "--json", file).stdout.decode()


@pytest.mark.parametrize("args", [["deepseek-v2-lite"], []], ids=["plan", "table"])
def test_the_binary(run: Run, args: list[str]) -> None:
    done = run("fit", *args, env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"deepseek-v2-lite" in done.stdout
