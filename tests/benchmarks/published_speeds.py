"""Forecasts beside the speeds that others measured, which are in published_speeds.yaml.

    python tests/benchmarks/published_speeds.py

Everything is planned with 4,096 tokens of context, of which none are filled, as they were measured.
The constants in dslocal/plan/speed/rates.py come from here; they are fitted to all of a kind's
rows, not to any one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.api.planning.machines import MachineOptions, machine_and_rates
from dslocal.api.planning.planned_models import planned_model
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import make_plan
from dslocal.plan.speed import tokens_per_s
from dslocal.strict_yaml import Rule, Section, read_yaml

FILE = Path(__file__).with_suffix(".yaml")
CONTEXT = 4096


@dataclass(frozen=True)
class PublishedSpeed:
    """A speed that somebody measured: of what, on what, and where it says so."""

    model: str
    quant: str
    machine: dict[str, str]
    tokens_per_s: float
    source: str

    @property
    def options(self) -> MachineOptions:
        """Return the options of ``dslocal fit`` that describe the machine."""
        given: dict[str, Any] = {"os": None if "chip" in self.machine else "linux", **self.machine}
        for name in ("gpu", "vram"):
            if name in given:
                given[name] = (given[name],)
        return MachineOptions(**given)


def _machine(section: Section, key: str) -> dict[str, str]:
    machine = section.section(key)
    return {name: machine.text(name) for name in machine.values}


RULES: dict[str, Rule] = {
    "model": Section.text,
    "quant": Section.text,
    "machine": _machine,
    "tokens_per_s": Section.number,
    "source": Section.text,
}


def published_speeds(file: Path = FILE) -> Iterator[PublishedSpeed]:
    """Yield the rows of the file. Raises DslocalError for one that is not well-formed."""
    root = read_yaml(file)
    sources = root.section("sources").values
    for section in root.sections("speeds"):
        row = section.read(RULES)
        section.require(RULES, row)
        if row["source"] not in sources:
            raise section.fail("source", "is not one of sources")
        yield PublishedSpeed(**row)


def forecast(row: PublishedSpeed) -> float:
    """Return what dslocal forecasts for a row."""
    machine, rates = machine_and_rates(row.options)
    header = planned_model(row.model, row.quant, machine.cores).header
    plan = make_plan(header, machine, Overrides(n_ctx=CONTEXT))
    return tokens_per_s(header, plan.load_config, plan.memory, machine, rates, 0.0)


def main() -> None:
    print(f"{'machine':24}{'model':31}{'quant':11}{'published':>10}{'forecast':>10}{'off by':>8}")
    errors = []
    for row in published_speeds():
        found = forecast(row)
        errors.append(found / row.tokens_per_s)
        known = [row.machine.get(key) for key in ("chip", "gpu", "cpu")]
        name = next(filter(None, known), f"CPU, {row.machine.get('bandwidth')} GB/s")
        print(
            f"{name:24}{row.model:31}{row.quant:11}{row.tokens_per_s:10.1f}{found:10.1f}"
            f"{errors[-1] - 1:+8.0%}  {row.source}"
        )
    logs = [math.log(error) for error in errors]
    mean = math.exp(sum(logs) / len(logs)) - 1
    typical = math.exp(sorted(map(abs, logs))[len(logs) // 2]) - 1
    inside = sum(1 / 1.3 <= error <= 1.3 for error in errors)
    print(f"mean {mean:+.0%}, median error {typical:.0%}, {inside} of {len(errors)} within 30 %")


if __name__ == "__main__":
    main()
