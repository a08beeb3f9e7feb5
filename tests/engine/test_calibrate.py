"""Proves that this machine's rates are measured once and remembered, and that damage to what is
remembered is harmless.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from support.cli.running import Run

from dslocal.engine.measuring import calibrate, ram_rate
from dslocal.engine.measuring.ram_rate import RamRates
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine

MIB, GIB = 1 << 20, 1 << 30

LEAST_AVAILABLE = 512 * MIB  # with which a machine of two cores is measured
MACHINE = Machine("linux", "some CPU", 2, 8 * GIB, 8 * GIB)


def rates_of(q8_0: float, q4_k: float | None = None, *, disturbed: bool = False) -> RamRates:
    """Return what a measurement may have found."""
    by_type = {GgmlType.Q8_0: q8_0} | ({} if q4_k is None else {GgmlType.Q4_K: q4_k})
    return RamRates(by_type, disturbed)


def test_rates_are_measured_once_and_remembered(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: False)
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(9e9, 6e9))
    first = calibrate.measured_rates(MACHINE)
    assert first is not None
    assert (first.ram, first.ram_types) == (9e9, ((GgmlType.Q4_K, 6e9),))
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: 1 / 0)
    assert calibrate.measured_rates(MACHINE) == first
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(7e9))
    other = calibrate.measured_rates(dataclasses.replace(MACHINE, cores=3))
    assert other is not None
    assert other.ram == 7e9  # another machine is measured again
    assert calibrate.measured_rates(MACHINE) == first


def test_on_a_busy_machine_the_best_of_a_few_measurements_counts(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([4e9, 3e9, 7e9, 5e9])
    loads = iter([9.0, 9.0, 9.0, 0.5])
    monkeypatch.setattr("os.getloadavg", lambda: (next(loads), 0.0, 0.0))
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(next(measured)))
    found = [calibrate.measured_rates(MACHINE) for _ in range(6)]
    assert [rates.ram if rates else 0 for rates in found] == [4e9, 4e9, 7e9, 7e9, 7e9, 7e9]


def test_a_disturbed_measurement_is_repeated(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something may have been busy for so short a time that the load average does not show it."""
    measured = iter([rates_of(4e9, disturbed=True), rates_of(7e9), rates_of(9e9)])
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: False)
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: next(measured))
    found = [calibrate.measured_rates(MACHINE) for _ in range(3)]
    assert [rates.ram if rates else 0 for rates in found] == [4e9, 7e9, 7e9]


def test_a_machine_that_is_always_busy_is_not_measured_for_ever(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: True)
    measured = iter([1e9] * calibrate.MAX_BUSY_RUNS)
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(next(measured)))
    for _ in range(calibrate.MAX_BUSY_RUNS + 3):
        assert calibrate.measured_rates(MACHINE) is not None
    assert next(measured, None) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"KEY": 1}',
        '{"KEY": {"ram": "x", "ssd": 1}}',
        '{"KEY": {"ram": NaN, "ssd": 3e9}}',
        '{"KEY": {"ram": 0, "ssd": 3e9}}',
        '{"KEY": {"ram": Infinity, "ssd": 3e9}}',
        '{"KEY": {"ram": 2e10, "ssd": 3e9, "types": [1]}}',
        '{"KEY": {"ram": 2e10, "ssd": 3e9, "types": {"Q4_K": "fast"}}}',
        '{"KEY": {"ram": 2e10, "ssd": 3e9, "types": {"Q4_K": NaN}}}',
    ],
)
def test_damaged_rates_are_measured_again(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (elsewhere.home / "state").mkdir()
    (elsewhere.home / "state" / "memory-rates.json").write_text(
        content.replace("KEY", "some CPU × 2")
    )
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(7e9))
    found = calibrate.measured_rates(MACHINE)
    assert found is not None
    assert found.ram == 7e9


def test_rates_without_a_home_to_write_to(elsewhere: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere.home / "state").write_text("in the way")
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(7e9))
    assert calibrate.measured_rates(MACHINE) is not None
    monkeypatch.setenv("DSLOCAL_HOME", "/proc/nowhere")
    assert calibrate.measured_rates(MACHINE) is not None


def test_each_type_keeps_its_best_rate(elsewhere: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([(8e9, 6e9), (7e9, 6.5e9)])
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: True)
    monkeypatch.setattr(
        calibrate,
        "measure_ram_rates",
        lambda *_: rates_of(*next(measured)),
    )
    found = [calibrate.measured_rates(MACHINE) for _ in range(2)]
    assert [(rates.ram, rates.ram_types) for rates in found if rates] == [
        (8e9, ((GgmlType.Q4_K, 6e9),)),
        (8e9, ((GgmlType.Q4_K, 6.5e9),)),
    ]
    assert calibrate.remembered_rates(MACHINE) == found[1]


def test_rates_that_a_small_model_gave_are_not_used(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homes of earlier versions have them: they were those of the processor's caches."""
    (elsewhere.home / "state").mkdir()
    old = {"some CPU × 2": {"ram": 2.6e10, "ssd": 2.1e9, "one_core": 1.3e10, "busy_runs": 0}}
    (elsewhere.home / "state" / "rates.json").write_text(json.dumps(old))
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(7e9))
    assert calibrate.remembered_rates(MACHINE) is None
    found = calibrate.measured_rates(MACHINE)
    assert found is not None
    assert found.ram == 7e9


def test_too_little_memory_to_measure(elsewhere: Run) -> None:
    full = dataclasses.replace(MACHINE, available=LEAST_AVAILABLE - 1 * MIB)
    assert calibrate.measured_rates(full) is None
    assert calibrate.remembered_rates(full) is None


def test_what_little_memory_gave_is_not_remembered(elsewhere: Run) -> None:
    """A cache may hold much of a small sample, and there will not always be as little memory."""
    little = dataclasses.replace(MACHINE, available=LEAST_AVAILABLE)
    assert calibrate.measured_rates(little) is not None
    assert calibrate.remembered_rates(little) is None


def test_a_measurement_waits_for_that_of_another_process(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: False)
    measuring, may_end = threading.Event(), threading.Event()

    def measure(*_: object) -> RamRates:
        assert not measuring.is_set(), "measured twice"
        measuring.set()
        assert may_end.wait(60)
        return rates_of(7e9)

    monkeypatch.setattr(calibrate, "measure_ram_rates", measure)
    monkeypatch.setattr(calibrate, "MAX_WAIT_S", 60)
    with ThreadPoolExecutor(2) as pool:  # a lock of a file that was opened twice parts threads too
        first = pool.submit(calibrate.measured_rates, MACHINE)
        assert measuring.wait(60)
        second = pool.submit(calibrate.measured_rates, MACHINE)
        assert not wait([second], timeout=0.2).done
        may_end.set()
        assert first.result(60) == second.result(60)


def test_a_stopped_process_is_not_waited_for(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere.home / "state").mkdir()
    monkeypatch.setattr(calibrate, "MAX_WAIT_S", 0.1)
    monkeypatch.setattr(calibrate, "measure_ram_rates", lambda *_: rates_of(7e9))
    with (elsewhere.home / "state" / "memory-rates.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert calibrate.measured_rates(MACHINE) is not None


def test_memory_that_cannot_be_had(elsewhere: Run) -> None:
    """A limit of the address space is not among what the machine says is free."""
    code = """
import resource
from dslocal.engine.measuring import calibrate, ram_rate
from dslocal.engine.measuring.ram_rate import RamRates
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine
libraries.require()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + ram_rate.LEAST_SAMPLE // 2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(calibrate.measured_rates(Machine("linux", "some CPU", 2, 8 << 30, 8 << 30)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr


@pytest.mark.parametrize(
    ("available", "threads", "nbytes"),
    [
        (511 * MIB, 2, 0),
        (512 * MIB, 2, 128 * MIB),
        (1 * GIB, 2, 256 * MIB),
        (512 * GIB, 8, 256 * MIB),
        (512 * GIB, 64, 2 * GIB),  # more than an EPYC's caches hold
        (512 * GIB, 256, 2 * GIB),
        (2 * GIB, 64, 0),
    ],
)
def test_the_sample_is_larger_than_caches_and_smaller_than_memory(
    available: int, threads: int, nbytes: int
) -> None:
    assert ram_rate.sample_size(available, threads) == nbytes


@pytest.mark.parametrize("threads", [1, 2])
def test_the_rates_of_the_memory(threads: int) -> None:
    """Whatever the memory is like: more than of a bad disk, less than of any GPU."""
    found = ram_rate.measure_ram_rates(1 * GIB, threads)
    assert found is not None
    rates = found.by_type
    assert set(rates) == set(ram_rate.TYPES)
    assert {GgmlType.Q8_0, GgmlType.Q4_K, GgmlType.Q2_K, GgmlType.F16} <= set(rates)
    assert all(1e7 < rate < 1e12 for rate in rates.values())


def test_the_rate_of_an_ssd(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(8 * MIB))
    assert calibrate.measure_ssd_rate(file, 2) > 0
    assert calibrate.measure_ssd_rate(tmp_path / "absent", 2) == 0
    (tmp_path / "empty").touch()
    assert calibrate.measure_ssd_rate(tmp_path / "empty", 2) == 0
