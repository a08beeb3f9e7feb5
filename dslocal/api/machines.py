"""The machine that is planned for, and its rates: this one, probed and measured, or another,
described by options.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

from dslocal.errors import UsageError
from dslocal.files import binary_size
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Gpu, Machine, Os
from dslocal.plan.speed import Rates, rates_for

from .sizes import size_in_bytes

OSES = ("linux", "macos", "windows")
LEAST_RAM = 64 << 20
PLATFORMS = {"darwin": "macos", "win32": "windows"}


def machine_and_rates(
    ram: str | None = None, vram: str | None = None, os: str | None = None
) -> tuple[Machine, Rates]:
    """Raises UsageError for options that make no machine."""
    gpu_memory = None if vram is None else _memory(vram, "--vram", least=0)
    if ram is None and os is None:
        from dslocal.catalog import resolve
        from dslocal.engine import calibrate

        machine = probe.probe_machine()
        rates = calibrate.measured_rates(machine, lambda: resolve.ensure_gguf(resolve.DEFAULT))
        machine = machine if gpu_memory is None else _with_vram(machine, gpu_memory)
        return machine, rates_for(machine, rates)
    if os is not None and os.lower() not in OSES:
        raise UsageError(f"--os: {os!r:.20} is not known", hint=", ".join(OSES))
    system = cast(Os, (os or PLATFORMS.get(sys.platform, "linux")).lower())
    installed = (
        _memory(ram, "--ram", least=LEAST_RAM) if ram is not None else probe.probe_machine().ram
    )
    machine = probe.describe_machine(installed, vram=gpu_memory, os=system)
    return machine, rates_for(machine)


def this_machine() -> tuple[Machine, Rates]:
    """Return this machine and its rates, as measured before; measures nothing."""
    from dslocal.engine import calibrate

    machine = probe.probe_machine()
    return machine, rates_for(machine, calibrate.remembered_rates(machine))


def _memory(text: str, option: str, *, least: int) -> int:
    """Memory is sold in binary units, whatever they are called: 16GB is 16 GiB. Raises UsageError
    naming ``option``.
    """
    try:
        return size_in_bytes(re.sub(r"(?i)(?<=[kmgt])b?\s*$", "iB", text), least=least)
    except UsageError as e:
        hint = (
            f"as 16GB, which is 16 GiB here; {binary_size(least)} or more"
            if least
            else "as 8GB, which is 8 GiB here; 0 for none"
        )
        raise UsageError(f"{option}: {text!r:.40} is no size of memory", hint=hint) from e


def _with_vram(machine: Machine, vram: int) -> Machine:
    """``machine`` with one GPU that a model may take ``vram`` of, or none."""
    vram = min(vram, machine.ram) if machine.unified else vram
    first = machine.gpus[0] if machine.gpus else Gpu("GPU", "cuda", vram, vram)
    gpus = (replace(first, total=max(first.total, vram), free=vram),) if vram else ()
    return replace(
        machine,
        gpus=gpus,
        notes=(*machine.notes, f"--vram: {binary_size(vram)} of GPU memory are planned with"),
    )


def with_ssd_of(file: Path, machine: Machine, rates: Rates) -> Rates:
    """``rates`` with what the disk gives that ``file`` is on, measured on the file itself."""
    from dslocal.engine import calibrate

    return replace(rates, ssd=calibrate.measure_ssd_rate(file, machine.cores) or rates.ssd)
