"""Read the machines that a YAML file lists: the hardware of each, and its link to the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.api.planning.machines import MachineOptions, machine_and_rates
from dslocal.errors import UsageError
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import Rates
from dslocal.strict_yaml import Rule, Section, read_yaml

MAX_MACHINES = 64
GBIT = 1e9 / 8
# Where the file says nothing: a wired network at home.
DEFAULT_LINK_GBIT = 1.0
DEFAULT_ROUND_TRIP_MS = 0.3


@dataclass(frozen=True, slots=True)
class ClusterMachine:
    """A machine of a cluster.

    Attributes:
        host: its host name, which the others use.
        machine: the machine.
        rates: the rates at which it reads memory, in bytes per second.
        link: the bandwidth of its link to the others, in bytes per second.
        round_trip: seconds of a small request and its response.
    """

    host: str
    machine: Machine
    rates: Rates
    link: float
    round_trip: float


def read_machines(file: Path) -> tuple[ClusterMachine, ...]:
    """Return the machines that a YAML file lists.

    Raises:
        DslocalError: the file cannot be read or has an invalid value; the message names the line.
    """
    root = read_yaml(file)
    root.read({"machines": Section.sections})
    root.require(["machines"], root.values)
    found: list[ClusterMachine] = []
    for section in root.sections("machines"):
        found += _machines_of(section, room=MAX_MACHINES - len(found))
    hosts = [machine.host for machine in found]
    if len(set(hosts)) != len(hosts):
        raise root.fail(
            "machines",
            "two machines have the same name",
            hint="give them different names with name:",
        )
    return tuple(found)


def _machines_of(section: Section, *, room: int) -> list[ClusterMachine]:
    """Return the machines of an entry of the file, at most ``room`` of them."""
    text: Rule = Section.text
    found: dict[str, Any] = section.read(
        {
            "name": text,
            "count": Section.integer,
            "ram": text,
            "os": text,
            "cpu": text,
            "chip": text,
            "gpus": text,
            "vram": text,
            "bandwidth": text,
            "link_gbit": Section.number,
            "latency_ms": Section.number,
        }
    )
    section.require(["name"], found)
    count = found.get("count", 1)
    if count > room:
        raise section.fail("count", f"too many machines: {MAX_MACHINES} at the most")
    options = MachineOptions(
        ram=found.get("ram"),
        vram=(found["vram"],) if "vram" in found else (),
        os=found.get("os"),
        gpu=(found["gpus"],) if "gpus" in found else (),
        cpu=found.get("cpu"),
        chip=found.get("chip"),
        bandwidth=found.get("bandwidth"),
    )
    if options.ram is None and options.chip is None:
        raise section.fail("ram", "is missing", hint="for example ram: 128GB")
    try:
        machine, rates = machine_and_rates(options)
    except UsageError as e:
        raise section.fail("name", f"{found['name']}: {e}", hint=e.hint) from e
    hosts = [found["name"]] if count == 1 else [f"{found['name']}-{n + 1}" for n in range(count)]
    link = found.get("link_gbit", DEFAULT_LINK_GBIT) * GBIT
    round_trip = found.get("latency_ms", DEFAULT_ROUND_TRIP_MS) / 1000
    return [ClusterMachine(host, machine, rates, link, round_trip) for host in hosts]
