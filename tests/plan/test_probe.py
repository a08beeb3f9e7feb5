"""Proves that a machine's memory, cores and GPUs are read rightly off recorded answers, this
machine's own and a real cgroup's included, and that a missing or hostile answer is a note and a
careful number."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli.running import python
from support.machines.cgroup_limit import confined
from support.machines.recorded_machines import (
    CPU,
    LINUX,
    MACOS,
    Recorded,
    linux,
    macos,
    ram_of,
    text,
)

from dslocal.gguf import libraries
from dslocal.gguf.libraries import Device
from dslocal.plan.machine import cgroups, system
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Gpu, Machine
from dslocal.plan.machine.probe import probe_machine
from dslocal.plan.machine.probe_macos import NAMES, SYSCTL, VM_STAT, metal_budget
from dslocal.plan.machine.system import LocalSystem, Ram

GIB = 1 << 30


@pytest.mark.parametrize("name", LINUX)
def test_linux(name: str) -> None:
    expected, machine = LINUX[name]["expected"], probe_machine(linux(name))
    assert (machine.os, machine.gpus, machine.unified) == ("linux", (), False)
    assert (machine.ram, machine.available, machine.cores, machine.cpu) == tuple(
        expected[k] for k in ("ram", "available", "cores", "cpu")
    )
    assert bool(machine.limited_by) == expected["limited"]
    assert len(machine.notes) == len(expected["notes"])
    assert all(part in note for part, note in zip(expected["notes"], machine.notes, strict=True))


@pytest.mark.parametrize("raised", [False, True], ids=["", "raised"])
@pytest.mark.parametrize("name", MACOS)
def test_macos(name: str, raised: bool) -> None:
    case, machine = MACOS[name], probe_machine(macos(name, raised=raised))
    expected = case["expected"]
    budget = case["raised_mb"] << 20 if raised else expected["working_set"]
    free = budget if raised else case["devices"][0][4]
    assert machine.gpus == (Gpu(expected["cpu"], "metal", budget, free),)
    assert (machine.os, machine.unified, machine.cpu) == ("macos", True, expected["cpu"])
    assert (machine.ram, machine.cores) == (expected["ram"], expected["cores"])
    assert 0.2 * machine.ram < machine.available < machine.ram
    assert any("iogpu.wired_limit_mb" in note for note in machine.notes) == raised


def test_macos_available_memory() -> None:
    # free + inactive + speculative + purgeable; of 408,800 pages of files 387,400 can be among
    # those, the rest must be active
    assert (
        probe_machine(macos("16")).available
        == (25034 + 386110 + 1290 + 4090 + (408800 - 386110 - 1290)) * 16384
    )
    # more of those lists than pages of files: no such rest
    assert (
        probe_machine(macos("128")).available
        == (6011233 + 790551 + 300400 + 31022 + (1100400 - 790551 - 300400)) * 16384
    )
    assert (
        probe_machine(macos("16 on macOS 15")).available == (201033 + 322880 + 40120 + 6011) * 16384
    )


def test_macos_never_has_more_than_it_has() -> None:
    boasting = macos("16", {"hw.memsize": str(2 * GIB)})
    assert (probe_machine(boasting).ram, probe_machine(boasting).available) == (2 * GIB, 2 * GIB)


def test_no_limit_is_not_a_size() -> None:
    runner = linux("v1 without limits")
    blind = dataclasses.replace(
        runner, files={k: v for k, v in runner.files.items() if k != "/proc/meminfo"}, ram=None
    )
    assert (probe_machine(blind).ram, probe_machine(blind).available) == (0, 0)
    assert any("--ram" in note for note in probe_machine(blind).notes)


def test_macos_says_when_memory_is_short() -> None:
    assert probe_machine(macos("8")).notes == (
        "memory is under pressure; closing programs would help",
        "3.4 GiB are swapped out",
    )
    critical = {
        "kern.memorystatus_vm_pressure_level": "4",
        "vm.swapusage": "total = 9,00G  used = 7,50G  free = 1,50G",
    }
    assert probe_machine(macos("16", critical)).notes == (
        "memory is critically short; closing programs would help",
        "7.0 GiB are swapped out",
    )
    assert probe_machine(macos("16")).notes == ()


@pytest.mark.parametrize(
    "name", [name for name in MACOS if "26" not in MACOS[name]["about"] and name != "512"]
)
def test_the_rule_is_what_metal_reports_up_to_macos_15(name: str) -> None:
    expected = MACOS[name]["expected"]
    assert metal_budget(expected["ram"]) == pytest.approx(
        expected["working_set"], abs=16384
    )  # Metal rounds to pages


def test_macos_without_the_engine() -> None:
    absent = probe_machine(dataclasses.replace(macos("36"), listed=None))
    assert absent.gpus == (Gpu("Apple M4 Max", "metal", 27 * GIB, 27 * GIB),)
    assert any("not installed" in note for note in absent.notes)
    assert any("macOS 26 gives more" in note for note in absent.notes)
    raised = probe_machine(dataclasses.replace(macos("36", raised=True), listed=None))
    assert raised.vram == 32 * GIB


def test_macos_without_metal() -> None:
    machine = probe_machine(macos("36", listed=[CPU]))
    assert (machine.gpus, machine.unified) == ((), True)
    assert any("without Metal" in note for note in machine.notes)
    intel = probe_machine(
        macos(
            "16",
            {"machdep.cpu.brand_string": "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz"},
            listed=[CPU],
        )
    )
    assert (intel.gpus, intel.unified, intel.notes) == ((), False, ())


def test_macos_without_answers() -> None:
    silent = probe_machine(Recorded("darwin", "arm"))
    assert (silent.cpu, silent.cores, silent.ram, silent.available) == ("arm", 4, 16 * GIB, 8 * GIB)
    assert any("vm_stat" in note for note in silent.notes)


def test_windows() -> None:
    machine = probe_machine(Recorded("win32", "Intel64 Family 6"))
    assert (machine.os, machine.cpu, machine.ram, machine.available) == (
        "windows",
        "Intel64 Family 6",
        16 * GIB,
        3 * GIB,
    )


H200 = Device("CUDA0", "NVIDIA H200", 1, 150_000_000_000, 149_000_000_000)


@pytest.mark.parametrize(
    ("listed", "names", "unified", "note"),
    [
        pytest.param([CPU], [], False, "", id="CPU only"),
        pytest.param([H200, CPU], ["NVIDIA H200"], False, "", id="one"),
        pytest.param(
            [H200, H200._replace(name="CUDA1"), CPU],
            ["NVIDIA H200"] * 2,
            False,
            "",
            id="two of a kind",
        ),
        pytest.param(
            [H200, H200._replace(name="Vulkan0"), CPU],
            ["NVIDIA H200"],
            False,
            "",
            id="one through two backends",
        ),
        pytest.param(
            [H200, Device("Vulkan1", "AMD Radeon 780M", 2, 8 * GIB, 8 * GIB)],
            ["NVIDIA H200"],
            False,
            "",
            id="integrated besides",
        ),
        pytest.param(
            [Device("CUDA0", "NVIDIA GB10", 2, 128 * GIB, 99 * GIB)],
            ["NVIDIA GB10"],
            True,
            "",
            id="integrated alone",
        ),
        pytest.param(
            [H200._replace(total=0, free=0)],
            [],
            False,
            "NVIDIA H200: reports no memory",
            id="no memory",
        ),
        pytest.param(
            [H200._replace(free=0)],
            ["NVIDIA H200"],
            False,
            "NVIDIA H200: no memory is free",
            id="full",
        ),
        pytest.param([H200._replace(description="")], ["CUDA0"], False, "", id="no name"),
        pytest.param(
            [H200._replace(description="a\x1b[2J\nb" + "c" * 200)],
            ["a [2J b" + "c" * 73],
            False,
            "",
            id="a hostile name",
        ),
        pytest.param(
            None,
            [],
            False,
            "the GPUs could not be listed: llama-cpp-python is not installed",
            id="no engine",
        ),
    ],
)
def test_gpus(listed: list[Device] | None, names: list[str], unified: bool, note: str) -> None:
    machine = probe_machine(Recorded(listed=listed))
    assert ([gpu.name for gpu in machine.gpus], machine.unified) == (names, unified)
    assert [n for n in machine.notes if n.startswith(note)] if note else machine.notes == ()


def test_kinds_of_gpu() -> None:
    listed = [
        H200,
        H200._replace(name="Vulkan0", description="Arc", free=1 << 60),
        H200._replace(name="Metal", description="M1"),
    ]
    gpus = probe_machine(Recorded(listed=listed)).gpus
    assert [gpu.kind for gpu in gpus] == ["cuda", "other", "metal"]
    assert gpus[1].free == gpus[1].total


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "max",
            "-1",
            "0",
            "9" * 19,
            "9" * 4400,
            "0x10",
            "1e9",
            "١٢٣",
            "",
            "\0",
            "MemTotal: 1 kB",
            "100000 0",
            "0 100000",
        ]
    ),
)
PATHS = sorted({path for case in LINUX.values() for path in case["files"]})


@given(
    st.dictionaries(st.sampled_from(PATHS), st.lists(HOSTILE, max_size=4).map(text)),
    st.sampled_from(sorted(LINUX)),
)
def test_hostile_files(files: dict[str, str], name: str) -> None:
    runner = linux(name)
    sane(probe_machine(dataclasses.replace(runner, files={**runner.files, **files}, ram=None)))


@given(
    st.dictionaries(st.sampled_from(NAMES), HOSTILE),
    st.one_of(HOSTILE, st.lists(st.sampled_from(MACOS["16"]["vm_stat"])).map(text)),
    st.sampled_from([None, Ram(-1, 5), Ram(5, 9), Ram(1 << 70, 1)]),
)
def test_hostile_commands(said: dict[str, str], vm_stat: str, ram: Ram | None) -> None:
    commands = {
        SYSCTL: text([f"{name}: {value}" for name, value in said.items()]),
        VM_STAT: vm_stat,
    }
    sane(
        probe_machine(
            Recorded("darwin", "arm", commands=commands, usable=None, ram=ram, listed=None)
        )
    )


def sane(machine: Machine) -> None:
    assert 0 <= machine.available <= machine.ram < 1 << 60
    assert machine.cores >= 1
    assert machine.cpu.isprintable()
    assert machine.vram <= machine.ram
    assert machine.ram or any("--ram" in note for note in machine.notes)


def test_described() -> None:
    mac = describe_machine(36 * GIB, os="macos")
    assert (mac.unified, mac.vram, mac.ram, mac.available) == (True, 27 * GIB, 36 * GIB, 33 * GIB)
    assert any("macOS 26 gives more" in note for note in mac.notes)
    assert describe_machine(16 * GIB, os="macos").vram == 16 * GIB * 2 // 3
    assert describe_machine(16 * GIB, os="macos", vram=0).gpus == ()
    assert describe_machine(16 * GIB, os="macos", vram=99 * GIB).vram == 16 * GIB
    server = describe_machine(256 * GIB, vram=80 * GIB, cores=64)
    assert (server.os, server.unified, server.vram, server.cores) == ("linux", False, 80 * GIB, 64)
    assert server.available == 255 * GIB
    assert any("no GPU" in note for note in describe_machine(8 * GIB).notes)
    assert describe_machine(2 * GIB, os="windows").available == 2 * GIB - GIB // 2


def test_this_machine() -> None:
    machine, known = probe_machine(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sane(machine)
    assert machine.ram <= known * 1.01
    assert machine.available > 64 << 20
    assert machine.cores <= (os.cpu_count() or 1)


def test_ggml_lists_this_machine_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    cpus = [
        device
        for device in libraries.devices()
        if device.kind not in (libraries.GPU, libraries.INTEGRATED_GPU)
    ]
    assert any(device.kind == 0 and device.total > 0 for device in cpus)
    assert capfd.readouterr() == ("", "")


def test_in_a_real_cgroup() -> None:
    program = (
        "from dslocal.plan.machine.probe import probe_machine; m = probe_machine();"
        " print(m.ram, m.available, m.limited_by)"
    )
    with confined(GIB) as command:
        done = subprocess.run(
            [*command, sys.executable, "-P", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    ram, available, limited_by = done.stdout.strip().split(" ", 2)
    assert int(ram) == GIB
    assert GIB * 3 // 4 < int(available) < GIB
    assert limited_by == "a cgroup's limit of 1.0 GiB"


MEMINFO = sorted({text(case["files"].get("/proc/meminfo", ())) for case in LINUX.values()})


@pytest.mark.parametrize("meminfo", [text for text in MEMINFO if "MemAvailable" in text])
def test_the_ram_of_a_recorded_linux(
    meminfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    for file in (str(tmp_path / "meminfo"), str(tmp_path / "absent")):  # read here, by psutil
        monkeypatch.setattr(system, "MEMINFO_FILE", file)
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path), raising=False)
        assert LocalSystem().memory() == ram_of(meminfo)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says it in a file")
def test_psutil_is_not_imported_where_linux_says_it() -> None:
    program = """
import sys
from dslocal.plan.machine.probe import probe_machine
print(probe_machine().ram > 0, "psutil" in sys.modules)
"""
    assert python(program).stdout.split() == ["True", "False"]


@pytest.mark.parametrize("meminfo", [None, "", "MemTotal: max kB\n", "MemTotal:", "\0", *MEMINFO])
def test_hostile_meminfo_never_fails(
    meminfo: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    monkeypatch.setattr(system, "MEMINFO_FILE", str(tmp_path / "meminfo"))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path), raising=False)
    ram = LocalSystem().memory()
    assert ram is None or 0 <= ram.available <= ram.total
    sane(probe_machine(Recorded(ram=ram)))


def test_local_never_fails() -> None:
    local = LocalSystem()
    assert [local.read(path) for path in ("/nonexistent", "/proc", "a\0b", "/proc/self/mem")] == [
        None
    ] * 4
    assert [local.run(command) for command in (["/nonexistent"], ["a\0b"])] == [None] * 2
    assert local.run(["sh", "-c", "echo said; exit 1"]) == "said\n"
    assert cgroups.memory_limits(Recorded()) == cgroups.CgroupMemory()
