"""Proves that a machine can be described by sizes and by names as people write them, that what is
assumed is said, and that a name which is not known is refused with what comes near.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dslocal.api.planning.machines import MachineOptions, machine_and_rates
from dslocal.errors import DslocalError, UsageError
from dslocal.plan.machine import probe
from dslocal.plan.machine.bandwidth import gpu_bandwidth, ram_bandwidth
from dslocal.plan.machine.hardware import (
    HARDWARE_FILE,
    find_chip,
    find_cpu,
    find_gpu,
    load_hardware,
)
from dslocal.plan.machine.machine import Gpu, Machine

GB, GIB = 10**9, 1 << 30
HERE = Machine("linux", "some CPU", 4, 16 * GIB, 12 * GIB)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe_machine", lambda: HERE)


def described(**options: Any) -> Machine:
    given = {"ram": "64GiB", "os": "linux", **options}
    return machine_and_rates(MachineOptions(**given))[0]


GPUS: list[tuple[dict[str, Any], list[tuple[float, int]]]] = [
    # options, and GiB and GB/s of each GPU
    ({"vram": ["24GiB"]}, [(24, 936)]),
    ({"vram": ["24GiB,24GiB"]}, [(24, 936)] * 2),
    ({"vram": ["24GiB", "24GiB"]}, [(24, 936)] * 2),
    ({"vram": ["2x24GiB"]}, [(24, 936)] * 2),
    ({"vram": ["24GB, 12GB"]}, [(24, 936), (12, 360)]),
    ({"vram": ["24GiB,0"]}, [(24, 936)]),
    ({"vram": ["0"]}, []),
    ({"vram": ["8GiB"]}, [(8, 272)]),
    ({"vram": ["20GiB"]}, [(20, 448)]),
    ({"vram": ["640GiB"]}, [(640, 7700)]),
    ({"vram": ["24GiB"], "bandwidth": "500"}, [(24, 500)]),
    ({"vram": ["24GiB"], "bandwidth": "1.8TB/s"}, [(24, 1800)]),
    ({"vram": ["10GiB"], "gpu": ["RTX 4090"]}, [(10, 1008)]),
    ({"gpu": ["RTX 4090"]}, [(24, 1008)]),
    ({"gpu": ["2x RTX 3090"]}, [(24, 936)] * 2),
    ({"gpu": ["RTX 3090 x2"]}, [(24, 936)] * 2),
    ({"gpu": ["RTX 4090", "RTX 3060"]}, [(24, 1008), (12, 360)]),
    ({"gpu": ["RTX 3090"], "vram": ["24GiB,20GiB"]}, [(24, 936), (20, 936)]),
    ({"gpu": ["RTX 3060"], "vram": ["8GiB"]}, [(8, 240)]),
    ({"gpu": ["RX 9070 XT"]}, [(16, 640)]),
]


@pytest.mark.parametrize(("options", "expected"), GPUS, ids=[str(row[0]) for row in GPUS])
def test_gpus(options: dict[str, Any], expected: list[tuple[float, int]]) -> None:
    machine = described(**options)
    found = [(gpu.free / GIB, round((gpu.bandwidth or 0) / GB)) for gpu in machine.gpus]
    assert found == expected


CPUS: list[tuple[dict[str, Any], int, float]] = [
    ({"ram": "16GiB"}, 8, 51.2),
    ({"ram": "64GiB"}, 8, 89.6),
    ({"ram": "256GiB"}, 32, 204.8),
    ({"ram": "768GiB"}, 48, 460.8),
    ({"cpu": "EPYC 9554"}, 64, 460.8),
    ({"cpu": "Ryzen 9 7950X"}, 16, 83.2),
    ({"cpu": "8-channel DDR5"}, 32, 307.2),
    ({"bandwidth": "400GB/s"}, 8, 400),
    ({"cpu": "EPYC 9554", "bandwidth": "380"}, 64, 380),
    ({"cpu": "EPYC 9554", "gpu": ["RTX 4090"], "bandwidth": "900"}, 64, 460.8),
]


@pytest.mark.parametrize(("options", "cores", "rate"), CPUS, ids=[str(row[0]) for row in CPUS])
def test_cpus(options: dict[str, Any], cores: int, rate: float) -> None:
    machine = described(**options)
    assert machine.cores == cores
    assert ram_bandwidth(machine) == pytest.approx(rate * GB)


CHIPS: list[tuple[str, str | None, str, str, float, int]] = [
    # what is said, RAM, and the OS, the chip, GB/s and cores
    ("M4 Max", "128GiB", "macos", "Apple M4 Max", 546, 12),
    ("Apple M4 Max", "36GiB", "macos", "Apple M4 Max", 410, 10),
    ("m3 max", "96GiB", "macos", "Apple M3 Max", 300, 10),
    ("m1", "8GiB", "macos", "Apple M1", 68.25, 4),
    ("M5 Max", "36GiB", "macos", "Apple M5 Max", 460, 6),
    ("M5 Max", "64GiB", "macos", "Apple M5 Max", 614, 6),
    ("M3 Ultra", "512GiB", "macos", "Apple M3 Ultra", 819, 24),
    ("Strix Halo", "128GiB", "linux", "Strix Halo", 256, 16),
    ("AMD Ryzen AI Max+ 395", "64GiB", "linux", "Ryzen AI Max+ 395", 256, 16),
    ("DGX Spark", None, "linux", "DGX Spark", 273, 20),
]


@pytest.mark.parametrize(
    ("chip", "ram", "os", "name", "rate", "cores"), CHIPS, ids=[f"{c[0]} {c[1]}" for c in CHIPS]
)
def test_chips(chip: str, ram: str | None, os: str, name: str, rate: float, cores: int) -> None:
    machine = machine_and_rates(MachineOptions(ram=ram, chip=chip))[0]
    assert (machine.os, machine.cpu, machine.cores, machine.unified) == (os, name, cores, True)
    assert gpu_bandwidth(machine) == ram_bandwidth(machine) == pytest.approx(rate * GB)
    assert 0 < machine.vram < machine.ram


def test_what_is_assumed_is_said_with_its_name() -> None:
    notes = " ".join(described(vram=["24GiB"]).notes)
    assert "RTX 3090 is assumed, 936 GB/s" in notes
    assert "2-channel DDR5 RAM is assumed, 90 GB/s" in notes
    named = described(gpu=["RTX 4090"], cpu="EPYC 9554", ram="384GiB")
    assert not any("is assumed" in note for note in named.notes)
    odd = machine_and_rates(MachineOptions(ram="100GiB", chip="M4 Max"))[0]
    assert any("sold with 48, 64, 128 GiB" in note for note in odd.notes)
    expected = machine_and_rates(MachineOptions(ram="256GiB", chip="M5 Ultra"))[0]
    assert any("not announced" in note for note in expected.notes)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"chip": "M4 Mux"}, "--chip 'M4 Mux' is read as Apple M4; not known: mux"),
        ({"gpu": ["2x RTX 4090 Foo"]}, "--gpu 'RTX 4090 Foo' is read as RTX 4090; not known: foo"),
        ({"chip": "Apple M4 Max"}, None),
        ({"chip": "Strix Halo"}, None),
        ({"chip": "AMD Ryzen AI Max+ 395"}, None),
        ({"gpu": ["NVIDIA GeForce RTX4090 24GB"]}, None),
        ({"gpu": ["4090"]}, None),
        ({"gpu": ["2x H200"]}, None),
    ],
    ids=str,
)
def test_a_word_of_a_name_that_is_not_understood_is_noted(
    options: dict[str, Any], note: str | None
) -> None:
    notes = machine_and_rates(MachineOptions(ram="64GiB", **options))[0].notes
    assert [said for said in notes if "not known" in said] == ([note] if note else [])


def test_another_gpu_in_this_machine() -> None:
    machine, _ = machine_and_rates(MachineOptions(gpu=("2x RTX 3090",)))
    assert (machine.cpu, machine.available, machine.vram) == ("some CPU", 12 * GIB, 48 * GIB)
    two, _ = machine_and_rates(MachineOptions(vram=("8GiB,8GiB",)))
    assert [gpu.free for gpu in two.gpus] == [8 * GIB] * 2


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"gpu": ["RTX 4095"]}, "--gpu: 'RTX 4095'", "RTX 4090"),
    ({"gpu": ["5000x RTX 3090"]}, "--gpu: '5000x RTX 3090' is not a number of GPUs", ""),
    ({"gpu": ["RTX 3090 ×65"]}, "--gpu: 'RTX 3090 ×65' is not a number of GPUs from 1 to 64", ""),
    ({"gpu": ["0x RTX 3090"]}, "--gpu: '0x RTX 3090'", ""),
    ({"gpu": [f"{10**30}x RTX 3090"]}, "--gpu: '1000", ""),
    ({"gpu": ["2x 3x RTX 3090"]}, "--gpu: '2x 3x RTX 3090'", ""),
    ({"gpu": ["40x RTX 3090", "40x RTX 4090"]}, "--gpu: 80 GPUs; 64 at the most", ""),
    ({"gpu": ["MI 300X"]}, "--gpu: 'MI 300X' is not in the table", "MI300X"),
    ({"gpu": ["Voodoo 2"]}, "--gpu", "--vram"),
    ({"cpu": "EPYC 9999"}, "--cpu: 'EPYC 9999'", "EPYC 9"),
    ({"cpu": "ryzen"}, "--cpu", "DDR5"),
    ({"chip": "M4 Ultra"}, "--chip: 'M4 Ultra'", "M5 Ultra"),
    ({"chip": "M4 Max", "ram": None, "os": None}, "sold with", "--ram"),
    ({"chip": "M4 Max", "os": "windows"}, "--os windows", ""),
    ({"chip": "Strix Halo", "os": "macos"}, "--os macos", ""),
    ({"os": "macos", "gpu": ["RTX 4090"]}, "--gpu", ""),
    ({"os": "macos", "vram": ["24GiB,24GiB"]}, "--vram", ""),
    ({"gpu": ["RTX 3090", "RTX 4090"], "vram": ["1GiB,2GiB,3GiB"]}, "--vram", ""),
    ({"vram": ["24GiB,,"]}, "--vram", ""),
    ({"vram": ["99x1GiB"]}, "--vram", ""),
    ({"bandwidth": "fast"}, "--bandwidth: 'fast'", "936"),
    ({"bandwidth": "0"}, "--bandwidth", "936"),
    ({"bandwidth": "9999TB/s"}, "--bandwidth", "936"),
]


@pytest.mark.parametrize(("options", "message", "hint"), WRONG, ids=[str(row[0]) for row in WRONG])
def test_what_makes_no_machine_is_refused(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        described(**options)
    assert message in str(refused.value)
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super"),
        ("5070 ti", "RTX 5070 Ti"),
        ("7900 xtx", "RX 7900 XTX"),
        ("AMD Radeon RX 7900 XT", "RX 7900 XT"),
        ("Radeon RX 6800", "RX 6800"),
        ("mi300x", "MI300X"),
        ("R9700", None),
        ("RTX 4090 Ti", None),
        ("RX 7900 XTX Ti", None),
        ("RTX", None),
        ("", None),
    ],
)
def test_names_of_gpus(text: str, name: str | None) -> None:
    card = find_gpu(text)
    assert (card and card.name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("AMD EPYC 9554 64-Core Processor", "EPYC 9554*"),
        ("epyc 9554p", "EPYC 9554*"),
        ("7950X", "Ryzen 9 7950*"),
        ("AMD Ryzen 9 7950X3D 16-Core Processor", "Ryzen 9 7950*"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "Core i9-13900*"),
        ("Intel(R) Core(TM) Ultra 7 265K", "Core Ultra 7 265*"),
        ("Threadripper PRO 7995WX", "Threadripper PRO 7995WX"),
        ("Xeon 6980P", "Xeon 6980P"),
        ("raspberry pi 5", "Raspberry Pi 5"),
        ("12-channel DDR5", "12-channel DDR5"),
        ("Ryzen 5", None),
        ("AMD EPYC", None),
        ("Intel Core i9", None),
    ],
)
def test_names_of_cpus(text: str, name: str | None) -> None:
    cpu = find_cpu(text)
    assert (cpu and cpu.name) == name


@pytest.mark.parametrize("text", ["M9", "M4 Ultra", "Max", "Apple processor", "AMD EPYC", ""])
def test_no_chip_has_such_a_name(text: str) -> None:
    assert find_chip(text) is None


def test_the_table_is_whole() -> None:
    table = load_hardware()
    assert all(url.startswith("https://") for url in table.sources.values())
    used = {row.source for rows in (table.chips, table.gpus, table.cpus) for row in rows}
    assert used == set(table.sources)
    rates = [*(gpu.bandwidth for gpu in table.gpus), *(chip.bandwidth for chip in table.chips)]
    assert all(10 * GB < rate < 10_000 * GB for rate in rates)
    sizes = [*(gpu.memory for gpu in table.gpus), *(chip.memory for chip in table.chips)]
    assert max(map(max, sizes)) <= 1024
    for card in table.gpus:  # each is found by its own name
        found = find_gpu(card.name, memory=card.memory[0] * GIB)
        assert found == card, card.name
    for cpu in table.cpus:
        assert find_cpu(cpu.name.rstrip("*")) == cpu, cpu.name
    for chip in table.chips:
        assert find_chip(chip.name, ram=chip.memory[0] * GIB, cores=chip.cores) == chip


GOOD = """\
sources: {a: https://a}
chips:
  - {name: C, cores: 1, memory: 8, bandwidth: 1, kind: metal, source: a}
gpus:
  - {name: G, memory: [8, 16], bandwidth: 2, kind: cuda, source: a}
cpus:
  - {name: P, cores: 2, bandwidth: 3, source: a}
typical:
  chips: [{memory: 1, name: a chip, bandwidth: 1}]
  gpus: [{memory: 1, name: G}]
  cpus: [{memory: 1, name: P}]
"""
DAMAGE = [
    ("bandwidth: 2", "bandwidth: fast", ":5: ", "bandwidth"),
    ("bandwidth: 2", "bandwidth: -2", ":5: ", "bandwidth"),
    ("bandwidth: 2, ", "", ":5: ", "bandwidth"),
    ("memory: [8, 16]", "memory: [16, 8]", ":5: ", "memory"),
    ("memory: [8, 16]", "memory: []", ":5: ", "memory"),
    ("kind: cuda", "kind: vulkan", ":5: ", "kind"),
    ("kind: cuda, source: a", "kind: cuda, source: b", ":5: ", "source"),
    ("kind: cuda", "kind: cuda, colour: red", ":5: ", "colour"),
    ("cores: 2", "cores: 0", ":7: ", "cores"),
    ("name: G}]", "name: H}]", ":10: ", "name"),
    ("name: P}]", "name: P}, {memory: 1, name: P}]", ":11: ", "memory"),
    ("gpus:\n", "gpus: {}\ncards:\n", "", "cards"),
]


@pytest.mark.parametrize(("old", "new", "line", "key"), DAMAGE, ids=[row[1] for row in DAMAGE])
def test_a_damaged_table_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: str, key: str
) -> None:
    file = tmp_path / "hardware.yaml"
    file.write_text(GOOD)
    assert load_hardware(file).gpus[0].memory == (8, 16)
    assert old in GOOD
    file = tmp_path / "damaged.yaml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DslocalError) as refused:
        load_hardware(file)
    assert f"{file}{line}" in str(refused.value)
    assert key in str(refused.value)


def test_the_file_ships() -> None:
    assert HARDWARE_FILE.is_file()


def test_a_gpu_that_was_described_keeps_its_speed() -> None:
    known = Gpu("NVIDIA GeForce RTX 4090", "cuda", 24 * GIB, 24 * GIB, 500.0 * GB)
    machine = Machine("linux", "x", 8, 64 * GIB, 60 * GIB, (known,))
    assert gpu_bandwidth(machine) == 500 * GB
