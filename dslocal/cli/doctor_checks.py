"""What may be wrong with this installation, each with what mends it. Every check works when all
else is broken, and changes nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import catalog, home, prompts
from dslocal.catalog import resolve
from dslocal.errors import DslocalError
from dslocal.files import binary_size
from dslocal.plan.machine.llama_cpp_build import REBUILD, Build
from dslocal.plan.machine.machine import Machine

from . import session_setup

if TYPE_CHECKING:
    from dslocal.catalog.leftovers import Leftover

LITTLE_DISK, LITTLE_RAM, MUCH_LEFT = 1 << 30, 512 << 20, 1 << 30
LIKE = 0.75  # how near a misspelled name must be
SIMD = ("AVX", "AVX2", "FMA", "F16C")  # what makes llama.cpp several times faster on x86


@dataclass(frozen=True)
class Finding:
    """``what`` is wrong and what to do about it, each in one line. ``stops``: something cannot run
    until it is mended.
    """

    what: str
    mend: str
    stops: bool = False


def folders() -> dict[str, Path]:
    return {"cache": home.cache_dir(), "config": home.config_dir(), "state": home.state_dir()}


def disk(paths: Mapping[str, Path]) -> Iterator[Finding]:
    """Folders that cannot be written to, and disks with little room."""
    for name, path in paths.items():
        if why := unwritable(path):
            stops = name == "cache" and not resolve.cached_conversions()
            yield Finding(
                f"the {name} folder {path} {why}",
                "DSLOCAL_HOME=FOLDER moves all of dslocal's folders",
                stops,
            )
    free = free_bytes(paths["cache"])
    if free is not None and free < LITTLE_DISK:
        yield Finding(
            f"{binary_size(free)} are free on the disk of {paths['cache']}",
            "dslocal rm frees space; DSLOCAL_HOME moves the folders elsewhere",
        )


def unwritable(path: Path) -> str:
    """Why nothing can be written into the folder ``path``, or where it would be; nothing when it
    can.
    """
    there = existing(path)
    if not there.is_dir():
        return f"cannot be made: {there} is no folder"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
    except OSError as e:
        return f"cannot be {'written to' if there == path else 'made'}: {there}: {e.strerror}"
    return ""


def existing(path: Path) -> Path:
    """``path``, or the nearest above it that is there."""
    return next((folder for folder in (path, *path.parents) if os.path.lexists(folder)), Path("/"))


def free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(existing(path)).free
    except OSError:
        return None


def settings() -> Iterator[Finding]:
    """What is wrong in config.toml and in variables: unknown names, values that are not allowed,
    templates that are none.
    """
    file = home.config_file()
    try:
        content = home.read_config()
    except DslocalError as e:
        yield Finding(str(e), f"mend or remove {file}", stops=True)
        return
    for key in content:
        if key not in session_setup.CONFIG_KEYS:
            yield Finding(
                f"{file}: unknown key {key!r:.60}",
                _instead(key, session_setup.CONFIG_KEYS, "remove it"),
                stops=True,
            )
    for source, values in (
        ("", content),
        ("DSLOCAL_", {key: os.environ.get(f"DSLOCAL_{key.upper()}") for key in prompts.SETTINGS}),
    ):
        for key in prompts.SETTINGS:
            if values.get(key) in (None, ""):
                continue
            try:
                prompts.FAMILIES["base"].defaults.with_value(
                    key, values[key], f"DSLOCAL_{key.upper()}" if source else str(file)
                )
            except DslocalError as e:
                yield Finding(str(e), e.hint, stops=True)
    ctx = os.environ.get("DSLOCAL_CTX") or content.get("ctx", session_setup.LEAST_CTX)
    if not str(ctx).isdecimal() or int(ctx) < session_setup.LEAST_CTX:
        yield Finding(
            f"the context that is set, {ctx!r:.40}, is none",
            f"ctx is {session_setup.LEAST_CTX} or more",
            stops=True,
        )
    yield from _templates(content.get(session_setup.TEMPLATES, {}), str(file))
    for name in os.environ:
        if name.startswith("DSLOCAL_") and name not in session_setup.VARIABLES:
            yield Finding(
                f"{name}: dslocal has no such variable",
                _instead(name, session_setup.VARIABLES, f"unset {name}"),
            )


def _templates(tables: object, source: str) -> Iterator[Finding]:
    if not isinstance(tables, dict):
        yield Finding(f"{source}: templates is no table", "[templates.NAME]")
        return
    for name, table in tables.items():
        try:
            template = prompts.parse_template(name, table, source)
            for key, value in template.settings.items():
                prompts.FAMILIES["base"].defaults.with_value(key, value, f"template {name}")
        except DslocalError as e:
            yield Finding(str(e), e.hint or "dslocal help templates")


def known_models() -> Iterator[Finding]:
    """A registry that cannot be read, and models whose files are gone."""
    try:
        catalog.load_registry()
    except DslocalError as e:
        yield Finding(
            str(e), e.hint or f"mend or remove {home.config_dir() / 'models.yaml'}", stops=True
        )
        return
    for entry in catalog.installed_models():
        if gone := entry.missing:
            yield Finding(
                f"{entry.full_name}: {gone} is gone", f"dslocal rm {entry.full_name} forgets it"
            )
    last = home.read_state(resolve.LAST).get("model")
    if isinstance(last, str) and resolve.last_used_model() is None:
        what = f"the model used last, {last}, is gone: {resolve.DEFAULT} answers instead"
        yield Finding(what, "dslocal ask -m NAME makes another the one used last")
    try:
        named = session_setup.named_model(None)
        if named:
            resolve.resolve_model(named)
    except DslocalError as e:
        yield Finding(f"the model that is set: {e}", e.hint, stops=True)


def leftovers(found: list[Leftover]) -> Iterator[Finding]:
    total = sum(one.nbytes for one in found)
    if total >= MUCH_LEFT:
        yield Finding(
            f"interrupted downloads and conversions left {binary_size(total)}",
            "dslocal rm --leftovers deletes what is not in use",
        )


def engine(build: Build, machine: Machine, flags: frozenset[str]) -> Iterator[Finding]:
    """A build that leaves a GPU or much of the CPU unused. ``flags`` are the CPU's own, in lower
    case.
    """
    if not build.gpu_offload and shutil.which("nvidia-smi"):
        what = "this machine seems to have an NVIDIA GPU, and llama.cpp is built without CUDA"
        yield Finding(what, f"CMAKE_ARGS=-DGGML_CUDA=on {REBUILD}")
    if lacking := [name for name in SIMD if name.lower() in flags and name not in build.features]:
        what = f"llama.cpp is built without {', '.join(lacking)}, which this CPU has: it is slow"
        yield Finding(what, f"CMAKE_ARGS=-DGGML_NATIVE=on {REBUILD}")
    if 0 < machine.available < LITTLE_RAM:
        yield Finding(
            f"{binary_size(machine.available)} of memory are free",
            "end other programs, or dslocal fit says what still runs",
        )


def _instead(name: str, known: tuple[str, ...], otherwise: str) -> str:
    near = get_close_matches(name, known, 1, LIKE)
    return f"it may be meant as {near[0]}" if near else otherwise
