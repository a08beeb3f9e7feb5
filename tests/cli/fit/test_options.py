"""Proves what options and settings change in a plan, which machines they describe, and mistakes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.cli.fit_answers import GIB, HERE, QWEN, one, text
from support.cli.running import Run

from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Gpu


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
    "experts in thousands of digits": (["--cpu-moe", "9" * 5000], 2, "--cpu-moe"),
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


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("ctx = 3", "ctx: 3 is out of range"),
        ('ctx = "x"', "ctx: x is not a number of tokens"),
        ('min_speed = "x"', "min_speed: 'x' is not a speed"),
        ("stream_experts = true", "stream_experts: 'True' is not known"),
    ],
)
def test_a_mistake_of_the_settings_names_the_key(run: Run, toml: str, said: str) -> None:
    file = run.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(toml)
    try:
        done = run.inside("fit")
    finally:
        file.unlink()
    assert done.returncode == 2
    assert f"dslocal: {file}: {said}" in done.stderr.decode()


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
