"""``dslocal doctor``: what this installation is and what is wrong with it. It opens no connection,
and works when nothing else does.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from dslocal.cli.options import AsJson
from dslocal.errors import DslocalError, EngineMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from dslocal.cli.doctor_checks import Finding

PACKAGES = (
    *(
        "llama-cpp-python",
        "gguf",
        "numpy",
        "typer",
        "rich",
        "huggingface-hub",
        "prompt-toolkit",
        "markdown-it-py",
        "PyYAML",
    ),
    *("platformdirs", "filelock", "charset-normalizer", "llguidance", "jsonschema"),
)
OPTIONAL = ("starlette", "uvicorn", "matplotlib")  # for dslocal serve and for plots
VARIABLES = re.compile(
    r"(DSLOCAL|HF|OMP|GGML|LLAMA|CUDA|METAL|GOMP)_\w+|(HTTPS?|ALL|NO)_PROXY|NO_COLOR|PAGER|OLLAMA_MODELS",
    re.IGNORECASE,
)
SECRET = re.compile(
    r"TOKEN|KEY|SECRET|PASS|PROXY", re.IGNORECASE
)  # of such a variable it is only said that it is set
OURS = "HF_HUB_DISABLE_TELEMETRY"  # which dslocal itself sets
MOST_FILES = 100_000


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine and this installation are, what is wrong, and what mends it."""
    problems: list[Finding] = []
    fields = dict(_sections(problems))
    stopped = any(problem.stops for problem in problems)
    if as_json:
        print(
            json.dumps(
                {**fields, "problems": [asdict(problem) for problem in problems], "ok": not stopped}
            )
        )
    else:
        from dslocal.terminal.reports import doctor_report

        doctor_report.print_report(fields, [asdict(problem) for problem in problems])
    if stopped:
        raise typer.Exit(1)


def _sections(problems: list[Finding]) -> Iterator[tuple[str, Any]]:
    """The parts of the report, by name; what is wrong goes to ``problems``."""
    from dslocal import __version__
    from dslocal.cli import doctor_checks

    def found(check: Callable[[], Iterator[Finding]]) -> None:
        try:
            problems.extend(check())
        except (
            DslocalError,
            OSError,
            ImportError,
        ) as e:  # a doctor does not die of what the patient has
            problems.append(
                doctor_checks.Finding(
                    f"{type(e).__name__}: {e}", getattr(e, "hint", ""), stops=True
                )
            )

    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield (
        "dslocal",
        {
            "version": __version__,
            "python": python,
            "executable": sys.executable,
            "packages": _packages(problems),
        },
    )
    engine, machine = _engine(problems)
    yield "machine", machine
    yield "llama.cpp", engine
    folders = doctor_checks.folders()
    found(lambda: doctor_checks.disk(folders))
    yield "folders", {name: str(path) for name, path in folders.items()}
    yield (
        "cache",
        {
            "bytes": _nbytes(folders["cache"]),
            "disk_free": doctor_checks.free_bytes(folders["cache"]),
        },
    )
    found(doctor_checks.settings)
    from dslocal import home

    yield "config", {"path": str(home.config_file()), "exists": home.config_file().is_file()}
    used = [name for name in sorted(os.environ) if VARIABLES.fullmatch(name) and name != OURS]
    yield "environment", {name: "set" if SECRET.search(name) else os.environ[name] for name in used}
    found(doctor_checks.known_models)
    yield "models", _models()
    yield "hub", _hub(found)
    from dslocal.terminal.capabilities import detect_terminal

    yield "terminal", asdict(detect_terminal())


def _packages(problems: list[Finding]) -> dict[str, str | None]:
    from importlib import metadata

    from dslocal.cli.doctor_checks import Finding

    versions: dict[str, str | None] = {}
    for name in (*PACKAGES, *OPTIONAL):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            if name in OPTIONAL:
                continue
            problems.append(
                Finding(
                    f"the package {name} is not installed",
                    f"pip install --upgrade {name}",
                    stops=True,
                )
            )
    return versions


def _engine(problems: list[Finding]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What llama.cpp is, and the machine as it sees it."""
    from dslocal.cli import doctor_checks
    from dslocal.plan.machine import probe
    from dslocal.plan.machine.llama_cpp_build import Build, KnownDevices, probe_build

    made: Build | EngineMissingError
    try:
        made = probe_build()
    except EngineMissingError as e:
        made = e
    runner = KnownDevices(made.devices if isinstance(made, Build) else made)
    machine = probe.probe_machine(runner)
    fields = {
        "os": platform.platform(),
        "cpu": machine.cpu,
        "cores": machine.cores,
        "ram": machine.ram,
        "available": machine.available,
    }
    fields |= {
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "limited_by": machine.limited_by,
        "notes": list(machine.notes),
    }
    if isinstance(made, EngineMissingError):
        problems.append(doctor_checks.Finding(str(made), made.hint, stops=True))
        return {"error": str(made)}, fields
    problems.extend(
        doctor_checks.engine(made, machine, _cpu_flags(runner.read("/proc/cpuinfo") or ""))
    )
    backends = sorted({device.name.rstrip("0123456789") for device in made.devices})
    return {
        "version": made.version,
        "library": made.library,
        "backends": backends,
        "features": list(made.features),
    }, fields


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(line[1].split() if line else ())


def _models() -> dict[str, Any]:
    from dslocal import catalog
    from dslocal.catalog import resolve

    return {
        "last_used": resolve.last_used_model(),
        "kept": [entry.full_name for entry in catalog.installed_models()],
        "converted": len(resolve.cached_conversions()),
    }


def _hub(found: Callable[[Callable[[], Iterator[Finding]]], None]) -> dict[str, Any]:
    from dslocal.cli import doctor_checks

    fields: dict[str, Any] = {}

    def look() -> Iterator[Finding]:
        from dslocal.catalog.leftovers import find_leftovers
        from dslocal.hub import environment

        left = find_leftovers()
        fields.update(
            offline=environment.is_offline(),
            endpoint=environment.endpoint(),
            downloads=str(environment.hub_cache_dir()),
        )
        fields["leftovers"] = sum(one.nbytes for one in left)
        yield from doctor_checks.leftovers(left)

    found(look)
    return fields


def _nbytes(folder: Path) -> int:
    """What the files under ``folder`` take; links are not followed."""
    total = seen = 0
    for root, _, names in os.walk(folder):
        for name in names:
            seen += 1
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118
            except OSError:
                continue
        if seen > MOST_FILES:
            break
    return total
