"""Proves that this machine's rates are measured once and remembered, and that damage to what is
remembered is harmless.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.cli.running import Run

from dslocal.catalog import conversion_cache, resolve
from dslocal.engine.measuring import calibrate
from dslocal.plan.machine.machine import Machine

MIB, GIB = 1 << 20, 1 << 30

MACHINE = Machine("linux", "some CPU", 2, 8 * GIB, 8 * GIB)


def shipped_nano() -> Path:
    return conversion_cache.ensure_gguf(resolve.DEFAULT)


def test_rates_are_measured_once_and_remembered(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, nano: Path
) -> None:
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: False)
    first = calibrate.measured_rates(MACHINE, lambda: nano)
    assert first is not None
    assert 1e8 < first.ram < 1e12
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: 1 / 0)
    assert calibrate.measured_rates(MACHINE, lambda: nano) == first
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: 7e9)
    other = calibrate.measured_rates(dataclasses.replace(MACHINE, cores=3), lambda: nano)
    assert other is not None
    assert other.ram == 7e9  # another machine is measured again
    assert calibrate.measured_rates(MACHINE, lambda: nano) == first


def test_on_a_busy_machine_the_best_of_a_few_measurements_counts(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, nano: Path
) -> None:
    measured = iter([4e9, 3e9, 7e9, 5e9])
    loads = iter([9.0, 9.0, 9.0, 0.5])
    monkeypatch.setattr("os.getloadavg", lambda: (next(loads), 0.0, 0.0))
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: next(measured))
    found = [calibrate.measured_rates(MACHINE, lambda: nano) for _ in range(6)]
    assert [rates.ram if rates else 0 for rates in found] == [4e9, 4e9, 7e9, 7e9, 7e9, 7e9]


def test_a_machine_that_is_always_busy_is_not_measured_for_ever(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, nano: Path
) -> None:
    monkeypatch.setattr(calibrate, "_is_busy", lambda _: True)
    measured = iter([1e9] * calibrate.MAX_BUSY_RUNS)
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: next(measured))
    for _ in range(calibrate.MAX_BUSY_RUNS + 3):
        assert calibrate.measured_rates(MACHINE, lambda: nano) is not None
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
    ],
)
def test_damaged_rates_are_measured_again(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, nano: Path, content: str
) -> None:
    (elsewhere.home / "state").mkdir()
    (elsewhere.home / "state" / "rates.json").write_text(content.replace("KEY", "some CPU × 2"))
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: 7e9)
    found = calibrate.measured_rates(MACHINE, lambda: nano)
    assert found is not None
    assert found.ram == 7e9


def test_rates_without_a_home_to_write_to(
    elsewhere: Run, monkeypatch: pytest.MonkeyPatch, nano: Path
) -> None:
    (elsewhere.home / "state").write_text("in the way")
    monkeypatch.setattr(calibrate, "_measure_ram_rate", lambda *_: 7e9)
    assert calibrate.measured_rates(MACHINE, lambda: nano) is not None
    monkeypatch.undo()
    monkeypatch.setenv("DSLOCAL_HOME", "/proc/nowhere")
    assert calibrate.measured_rates(MACHINE, shipped_nano) is None  # no place for nano


def test_the_rate_of_an_ssd(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(8 * MIB))
    assert calibrate.measure_ssd_rate(file, 2) > 0
    assert calibrate.measure_ssd_rate(tmp_path / "absent", 2) == 0
    (tmp_path / "empty").touch()
    assert calibrate.measure_ssd_rate(tmp_path / "empty", 2) == 0
