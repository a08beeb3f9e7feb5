"""Proves what a file of machines may contain, and that dslocal lists the ways to run a model that
fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dslocal.api.cluster import ClusterWays, cluster_ways, read_machines
from dslocal.errors import DslocalError
from dslocal.plan.overrides import NO_OVERRIDES

MACS = "machines:\n  - name: mac\n    count: 2\n    chip: M4 Max\n    ram: 128GB\n"
BOXES = (
    "machines:\n  - name: box\n    count: 2\n    ram: {ram}\n    gpus: 2x RTX 3090\n"
    "    cpu: 2-channel DDR5\n    link_gbit: 10\n    latency_ms: 0.15\n"
)
NODES = (
    "machines:\n  - name: node\n    count: 2\n    ram: 2TB\n    gpus: 8x H200\n"
    "    cpu: EPYC 9554\n    link_gbit: 400\n    latency_ms: 0.03\n"
)
R1 = "deepseek-r1"


def ways(folder: Path, text: str, model: str = R1) -> ClusterWays:
    file = folder / "machines.yaml"
    file.write_text(text, encoding="utf-8")
    return cluster_ways(model, None, read_machines(file), NO_OVERRIDES)


def test_two_macs_hold_r1_once_their_gpus_may_take_more(tmp_path: Path) -> None:
    assert ways(tmp_path, MACS).rpc.assessment.plan.verdict == "no"
    found = ways(tmp_path, MACS + "    vram: 120GB\n").rpc
    assert found.assessment.plan.verdict == "workers"
    assert found.workers == ("mac-2",)
    assert found.commands[0].startswith("mac-2$ dslocal worker --host mac-2 ")
    assert "--rpc mac-2:50052" in found.commands[1]
    assert 0 < found.assessment.speed.low < found.assessment.speed.high
    assert found.load_s > 60  # 120 GB over 1 Gbit/s


def test_four_small_gpus_hold_r1_only_with_much_ram(tmp_path: Path) -> None:
    small = ways(tmp_path, BOXES.format(ram="64GB"))
    assert small.rpc.assessment.plan.verdict == "no"
    assert small.rpc.assessment.plan.lacking > 0
    assert small.gpus.fit is not None
    assert not small.gpus.fit.fits
    assert not small.gpus.launches
    large = ways(tmp_path, BOXES.format(ram="192GB")).rpc
    spread = large.assessment.plan.spread
    assert spread is not None
    assert [share.place.endpoint for share in spread.shares] == ["", *["box-2:50052"] * 2, "", ""]
    split = [str(device.layers) for device in large.assessment.plan.load_config.split]
    assert f"--tensor-split {','.join(split)}" in large.llama_cpp[-1]


def test_sixteen_large_gpus_run_the_published_checkpoint(tmp_path: Path) -> None:
    found = ways(tmp_path, NODES).gpus
    assert found.fit is not None
    assert found.fit.fits_one
    engines = dict(found.launches)
    assert set(engines) == {"vLLM", "SGLang"}
    assert "--data-parallel-size 16" in engines["vLLM"].commands[0]
    assert "--data-parallel-start-rank 8" in engines["vLLM"].commands[1]
    assert "--tp 8" in engines["SGLang"].commands[0]


def test_v4_has_its_own_lines(tmp_path: Path) -> None:
    found = ways(tmp_path, NODES, "deepseek-v4-flash").gpus
    assert "--tokenizer-mode deepseek_v4" in dict(found.launches)["vLLM"].commands[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machines: []\n", "machines: is not a list of one or more"),
        ("boxes: 1\n", "unknown key"),
        ("{}\n", "is missing"),
        ("machines:\n  - ram: 8GB\n", "name: is missing"),
        ("machines:\n  - name: a\n", "ram: is missing"),
        ("machines:\n  - name: a\n    ram: much\n", "not a size"),
        ("machines:\n  - name: a\n    ram: 8GB\n    gpus: 2x Voodoo\n", "Voodoo"),
        ("machines:\n  - name: a\n    ram: 8GB\n    link: 1\n", "unknown key 'link'"),
        ("machines:\n  - name: a\n    ram: 8GB\n    latency_ms: -1\n", "not a number above 0"),
        ("machines:\n  - name: a\n    ram: 8GB\n  - name: a\n    ram: 8GB\n", "the same name"),
        ("machines:\n  - name: a\n    ram: 8GB\n    count: 65\n", "64 at the most"),
        (
            "machines:\n  - name: a\n    ram: 8GB\n    count: 9000000000000\n",
            "yaml:4: machines: count: too many machines: 64 at the most",
        ),
    ],
)
def test_what_a_file_may_not_say_is_named_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(DslocalError, match=said) as raised:
        ways(tmp_path, text)
    assert "machines.yaml:" in str(raised.value)
