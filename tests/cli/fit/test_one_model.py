"""Proves the plan of one model that ``dslocal fit`` prints: by name, file, or folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from support.cli.fit_answers import GIB, QWEN, V3, check, one, table, text
from support.cli.running import Run
from support.gguf.published_shapes import write_header
from support.machines.planning import REGISTRY
from support.terminal.calculator import assert_right


def test_the_quantizations_are_those_that_the_model_recommends(run: Run) -> None:
    assert table(run, "--ram", "360GB")[V3]["quant"] == "Q3_K_M"
    assert re.findall(r"\bQ\w+(?=: )", text(run, V3, "--ram", "512GB")) == [
        "Q8_0",
        "Q3_K_M",
        "Q2_K",
    ]
    for name in (QWEN, REGISTRY["nano"].folder):
        assert re.findall(r"\bQ\w+(?=: )", text(run, name)) == ["Q8_0", "Q2_K"]  # beside Q4_K_M


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


def test_why_a_conversion_takes_less_disk_than_is_downloaded_is_said(run: Run) -> None:
    reason = "pull converts a shard at a time, then deletes it"
    large = " ".join(text(run, "deepseek-r1", "--ram", "64GB").split())
    assert "download 688.6 GB, the checkpoint, which is converted; 266.4 GB of disk" in large
    assert reason in large
    assert reason not in text(run, QWEN)


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
        whole = run.inside("fit", *args, "--explain").stdout.decode().splitlines()
        for line in whole:
            assert_right(line)
        if args:
            title = "  forecast:  "
            said = next(line.removeprefix(title) for line in whole if line.startswith(title))
            assert f"forecast  {said}" in whole
    assert "KV cache (MLA): 61 layers × 576 values in f16 = 70,272 bytes a token" in shown
    for tier in ("GPU:", "RAM:", "SSD:"):
        assert tier in shown
    assert "routed experts" in shown
    assert "models" in json.loads(run.inside("fit", "--explain", "--json").stdout)


def test_what_would_change_it(run: Run) -> None:
    shown = text(run, "deepseek-r1-distill-qwen-32b", "--ram", "16GB", "--quant", "Q4_K_M")
    assert "from the SSD: the weights are" in shown
    assert "32.0 GiB of RAM: on the CPU" in " ".join(shown.split())
    assert "Q2_K: " in shown
    larger = " ".join(text(run, V3, "--ram", "64GB", "--quant", "Q2_K").split())
    for change in ("an SSD twice as fast", "128.0 GiB of RAM"):
        assert re.search(rf"{change}: \S+ GiB from the SSD, \S+ context, \S+ tokens/s", larger)
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


def test_what_keeps_a_quantization_from_being_fetched_is_said(run: Run) -> None:
    needs = text(run, "deepseek-v4-flash-base:V4-IQ2", "--ram", "24GiB", "--vram", "0")
    assert "by dslocal convert --imatrix auto" in " ".join(needs.split())
    pickled = text(run, "deepseek-llm-67b-base:Q8_0", "--ram", "24GiB", "--vram", "0")
    assert "only pickled weights, which are never opened" in " ".join(pickled.split())
