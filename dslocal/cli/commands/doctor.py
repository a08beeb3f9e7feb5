"""``dslocal doctor``: describe this installation and find what is wrong with it.

It opens no connection, and works when nothing else does.
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
from dslocal.errors import DslocalError, EngineMissingError, ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from dslocal.cli.doctor_checks import Finding
    from dslocal.plan.machine.machine import Machine

PACKAGES = (
    "llama-cpp-python",
    "gguf",
    "numpy",
    "typer",
    "rich",
    "huggingface-hub",
    "prompt-toolkit",
    "markdown-it-py",
    "PyYAML",
    "platformdirs",
    "filelock",
    "charset-normalizer",
    "llguidance",
    "jsonschema",
)
OPTIONAL_PACKAGES = ("starlette", "uvicorn", "matplotlib")  # for dslocal serve and for plots
SHOWN_VARIABLES = re.compile(
    r"(DSLOCAL|HF|OMP|GGML|LLAMA|CUDA|METAL|GOMP)_\w+"
    r"|(HTTPS?|ALL|NO)_PROXY|NO_COLOR|PAGER|OLLAMA_MODELS",
    re.IGNORECASE,
)
# Of such a variable the report says only that it is set.
SECRET_VARIABLES = re.compile(r"TOKEN|KEY|SECRET|PASS|PROXY", re.IGNORECASE)
OWN_VARIABLE = "HF_HUB_DISABLE_TELEMETRY"  # dslocal itself sets it
MAX_FILES = 100_000

Check = Callable[[], "Iterator[Finding]"]


def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong with this installation, and how to fix it."""
    findings: list[Finding] = []
    fields = dict(_sections(findings))
    is_stopped = any(finding.stops for finding in findings)
    problems = [asdict(finding) for finding in findings]
    if as_json:
        print(json.dumps({**fields, "problems": problems, "ok": not is_stopped}))
    else:
        from dslocal.terminal.reports import doctor_report

        doctor_report.print_report(fields, problems)
    if is_stopped:
        raise typer.Exit(ExitCode.FAILURE)


def _sections(findings: list[Finding]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the report by name; what is wrong goes to ``findings``."""
    from dslocal.cli import doctor_checks
    from dslocal.terminal.capabilities import detect_terminal

    yield "dslocal", _installation(findings)
    engine, machine = _engine_and_machine(findings)
    yield "machine", machine
    yield "llama.cpp", engine
    yield "kernels", _kernels(findings) if "error" not in engine else None
    folders = doctor_checks.app_folders()
    _collect(lambda: doctor_checks.check_folders(folders), findings)
    yield "folders", {name: str(path) for name, path in folders.items()}
    yield "cache", _cache(folders["cache"])
    _collect(doctor_checks.check_settings, findings)
    yield "config", _config_file()
    yield "environment", _environment()
    _collect(doctor_checks.check_models, findings)
    yield "models", _models()
    yield "hub", _hub(findings)
    yield "terminal", asdict(detect_terminal())


def _collect(check: Check, findings: list[Finding]) -> None:
    """Add what a check finds. A check that fails is itself a finding."""
    from dslocal.cli.doctor_checks import Finding

    try:
        findings.extend(check())
    except (DslocalError, OSError, ImportError) as e:
        hint = getattr(e, "hint", "")
        findings.append(Finding(f"{type(e).__name__}: {e}", hint, stops=True))


def _installation(findings: list[Finding]) -> dict[str, Any]:
    from dslocal import __version__

    return {
        "version": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "packages": _packages(findings),
    }


def _packages(findings: list[Finding]) -> dict[str, str | None]:
    """Return the versions of the packages that dslocal uses; None for one that is missing."""
    from importlib import metadata

    from dslocal.cli.doctor_checks import Finding

    versions: dict[str, str | None] = {}
    for name in (*PACKAGES, *OPTIONAL_PACKAGES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            if name in PACKAGES:
                finding = Finding(
                    f"the package {name} is not installed",
                    f"pip install --upgrade {name}",
                    stops=True,
                )
                findings.append(finding)
    return versions


def _engine_and_machine(findings: list[Finding]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what llama.cpp is, and the machine as it sees it."""
    from dslocal.cli import doctor_checks
    from dslocal.plan.machine import probe
    from dslocal.plan.machine.llama_cpp_build import KnownDevices, probe_build

    try:
        build = probe_build()
    except EngineMissingError as e:
        findings.append(doctor_checks.Finding(str(e), e.hint, stops=True))
        return {"error": str(e)}, _machine(probe.probe_machine(KnownDevices(e)))
    runner = KnownDevices(build.devices)
    machine = probe.probe_machine(runner)
    cpu_flags = _cpu_flags(runner.read("/proc/cpuinfo") or "")
    findings.extend(doctor_checks.check_engine(build, machine, cpu_flags))
    engine = {
        "version": build.version,
        "library": build.library,
        "backends": sorted({device.name.rstrip("0123456789") for device in build.devices}),
        "features": list(build.features),
        "rpc": _rpc_library(),
    }
    return engine, _machine(machine)


def _rpc_library() -> str | None:
    """Return the path of llama.cpp's RPC library; None without one."""
    from dslocal.rpc.library import find_library

    found = find_library()
    return str(found) if found else None


def _kernels(findings: list[Finding]) -> dict[str, Any]:
    """Return which of the converter's quantization kernels are used, and what else is compiled."""
    from dslocal.cli import doctor_checks
    from dslocal.convert.kernels import best_kernels, compiled_levels

    kernels, compiled = best_kernels(), list(compiled_levels())
    level = kernels.level if kernels else None
    findings.extend(doctor_checks.check_kernels(level, compiled))
    return {"level": level, "compiled": compiled, "graph_filter": _has_node_filter(findings)}


def _has_node_filter(findings: list[Finding]) -> bool:
    """Return whether the filter for experts that are streamed was compiled."""
    from dslocal.cli import doctor_checks
    from dslocal.engine.graph.node_filter import load_library

    is_compiled = load_library() is not None
    findings.extend(doctor_checks.check_node_filter(is_compiled=is_compiled))
    return is_compiled


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "os": platform.platform(),
        "cpu": machine.cpu,
        "cores": machine.cores,
        "ram": machine.ram,
        "available": machine.available,
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "limited_by": machine.limited_by,
        "notes": list(machine.notes),
    }


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(line[1].split() if line else ())


def _cache(folder: Path) -> dict[str, Any]:
    from dslocal.cli import doctor_checks
    from dslocal.home.paths import prefix_dir

    return {
        "bytes": _folder_bytes(folder),
        "prompts": _folder_bytes(prefix_dir()),
        "disk_free": doctor_checks.free_bytes(folder),
    }


def _config_file() -> dict[str, Any]:
    from dslocal import home

    return {"path": str(home.config_file()), "exists": home.config_file().is_file()}


def _environment() -> dict[str, str]:
    """Return the variables that have an effect, without the secrets among them."""
    names = sorted(name for name in os.environ if SHOWN_VARIABLES.fullmatch(name))
    return {
        name: "set" if SECRET_VARIABLES.search(name) else os.environ[name]
        for name in names
        if name != OWN_VARIABLE
    }


def _models() -> dict[str, Any]:
    from dslocal import catalog
    from dslocal.catalog import conversion_cache, resolve

    return {
        "last_used": resolve.last_used_model(),
        "kept": [entry.full_name for entry in catalog.installed_models()],
        "converted": len(conversion_cache.cached_conversions()),
    }


def _hub(findings: list[Finding]) -> dict[str, Any]:
    """Return how the hub is reached, as far as that is known."""
    from dslocal.cli import doctor_checks

    fields: dict[str, Any] = {}

    def look() -> Iterator[Finding]:
        from dslocal.catalog.leftovers import find_leftovers
        from dslocal.hub import environment

        left = find_leftovers()
        fields["offline"] = environment.is_offline()
        fields["endpoint"] = environment.endpoint()
        fields["downloads"] = str(environment.hub_cache_dir())
        fields["leftovers"] = sum(leftover.nbytes for leftover in left)
        yield from doctor_checks.check_leftovers(left)

    _collect(look, findings)
    return fields


def _folder_bytes(folder: Path) -> int:
    """Return the bytes of the files under a folder; links are not followed."""
    total = seen = 0
    for root, _, names in os.walk(folder):
        for name in names:
            seen += 1
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118
            except OSError:
                continue
        if seen > MAX_FILES:
            break
    return total
