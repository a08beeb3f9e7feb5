"""Check this installation, and say how to fix each fault.

Every check works when all else is broken, and changes nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dslocal import catalog, home, prompts
from dslocal.catalog import conversion_cache, resolve
from dslocal.errors import DslocalError, UsageError
from dslocal.files import binary_size, whole_number
from dslocal.plan.machine.llama_cpp_build import Build
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.unused_gpu import METAL_OFF, REBUILD

from . import user_settings
from .load_overrides import MIN_CTX

if TYPE_CHECKING:
    from dslocal.catalog.leftovers import Leftover

MIN_FREE_DISK = 1 << 30
MIN_FREE_RAM = 512 << 20
MAX_LEFTOVERS = 1 << 30
MIN_LIKENESS = 0.75  # of a name to the misspelled one
SIMD = ("AVX", "AVX2", "FMA", "F16C")  # what makes llama.cpp several times faster on x86
# What lets it multiply matrices faster still, as a prompt does, by the CPU's name for it. A
# prebuilt wheel is for many processors and leaves these out.
WIDE_SIMD = {"avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI"}
COMPILE = (
    "install gcc 11 or clang 12 or newer, then: pip install --force-reinstall --no-deps dslocal"
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: What it is, in one line.
        mend: What to do about it, in one line.
        stops: Whether something cannot run until it is mended.
    """

    what: str
    mend: str
    stops: bool = False


def app_folders() -> dict[str, Path]:
    """Return dslocal's own folders by name."""
    return {"cache": home.cache_dir(), "config": home.config_dir(), "state": home.state_dir()}


def check_folders(paths: Mapping[str, Path]) -> Iterator[Finding]:
    """Find folders that cannot be written to, and a disk with little room."""
    for name, path in paths.items():
        if reason := why_unwritable(path):
            yield Finding(
                f"the {name} folder {path} {reason}",
                "DSLOCAL_HOME=FOLDER moves all of dslocal's folders",
                stops=name == "cache" and not conversion_cache.cached_conversions(),
            )
    free = free_bytes(paths["cache"])
    if free is not None and free < MIN_FREE_DISK:
        yield Finding(
            f"only {binary_size(free)} are free on the disk of {paths['cache']}",
            "dslocal rm frees space; DSLOCAL_HOME moves the folders elsewhere",
        )


def check_kernels(level: str | None, compiled: Collection[str]) -> Iterator[Finding]:
    """Find quantization kernels that were not compiled when dslocal was installed.

    Args:
        level: The level of the processor that is used; None where ggml's own quantizers are.
        compiled: The levels that the installation has.
    """
    if level is None:
        yield Finding(
            "the quantization kernels were not compiled: convert uses llama.cpp's own quantizers, "
            "which write the same bytes and take 5 to 15 times as long",
            COMPILE,
        )
    elif level == "x86-64" and len(compiled) < 2:
        yield Finding(
            "the quantization kernels were compiled without AVX2: convert takes twice as long",
            COMPILE,
        )


def check_node_filter(*, is_compiled: bool) -> Iterator[Finding]:
    """Find a filter of llama.cpp's graph that was not compiled when dslocal was installed."""
    if not is_compiled:
        yield Finding(
            "the filter of llama.cpp's graph was not compiled: models larger than the RAM give the "
            "same answers, more slowly",
            COMPILE,
        )


def why_unwritable(path: Path) -> str:
    """Return why nothing can be written into a folder, which need not exist; empty if it can."""
    there = nearest_existing(path)
    if not there.is_dir():
        return f"cannot be created: {there} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
    except OSError as e:
        return f"cannot be {'written to' if there == path else 'created'}: {there}: {e.strerror}"
    return ""


def nearest_existing(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that exists."""
    return next((folder for folder in (path, *path.parents) if os.path.lexists(folder)), Path("/"))


def free_bytes(path: Path) -> int | None:
    """Return the bytes that are free on the disk of ``path``; None if that is unknown."""
    try:
        return shutil.disk_usage(nearest_existing(path)).free
    except OSError:
        return None


def check_settings() -> Iterator[Finding]:
    """Find what is wrong in config.toml and the environment: names, values and templates."""
    file = home.config_file()
    try:
        content = home.read_config()
    except DslocalError as e:
        yield Finding(str(e), f"correct or remove {file}", stops=True)
        return
    for key in content:
        if key not in user_settings.CONFIG_KEYS:
            yield Finding(
                f"{file}: unknown key {key!r:.60}",
                _suggest(key, user_settings.CONFIG_KEYS, "remove it"),
                stops=True,
            )
    for key in prompts.SETTINGS:
        yield from _check_value(key, content.get(key), str(file))
    for key in prompts.SETTINGS:
        variable = f"DSLOCAL_{key.upper()}"
        yield from _check_value(key, os.environ.get(variable), variable)
    yield from _check_context(content)
    if set(content) <= set(user_settings.CONFIG_KEYS):
        yield from _check_disk_cache()
    yield from _check_templates(content.get(user_settings.TEMPLATES, {}), str(file))
    for name, meant in user_settings.unknown_variables().items():
        near = f"did you mean {meant}?" if meant else f"unset {name}"
        yield Finding(f"{name}: dslocal has no such variable", near)


def _check_value(key: str, value: Any, source: str) -> Iterator[Finding]:
    if value in (None, ""):
        return
    value = user_settings.as_configured(key, value)
    try:
        prompts.FAMILIES["base"].defaults.with_value(key, value, source)
    except DslocalError as e:
        yield Finding(str(e), e.hint, stops=True)


def _check_context(content: Mapping[str, Any]) -> Iterator[Finding]:
    least = MIN_CTX
    given = os.environ.get("DSLOCAL_CTX") or content.get("ctx", least)
    ctx = user_settings.as_configured("ctx", given)
    if (whole_number(str(ctx)) or 0) < least:
        yield Finding(
            f"the configured context, {ctx!r:.40}, is not valid",
            f"ctx must be {least} or more",
            stops=True,
        )


def _check_disk_cache() -> Iterator[Finding]:
    try:
        user_settings.disk_cache_bytes()
    except DslocalError as e:
        yield Finding(str(e), e.hint, stops=True)


def _check_templates(tables: object, source: str) -> Iterator[Finding]:
    if not isinstance(tables, dict):
        yield Finding(f"{source}: templates is not a table", "write it as [templates.NAME]")
        return
    for name, table in tables.items():
        try:
            template = prompts.parse_template(name, table, source)
            for key, value in template.settings.items():
                prompts.FAMILIES["base"].defaults.with_value(key, value, f"template {name}")
        except DslocalError as e:
            yield Finding(str(e), e.hint or "dslocal help templates")


def check_models() -> Iterator[Finding]:
    """Find a registry that cannot be read, and models whose files are gone."""
    try:
        catalog.load_registry()
    except DslocalError as e:
        file = home.config_dir() / "models.yaml"
        yield Finding(str(e), e.hint or f"correct or remove {file}", stops=True)
        return
    for entry in catalog.installed_models():
        if gone := entry.missing:
            yield Finding(
                f"{entry.full_name}: {gone} no longer exists",
                f"dslocal rm {entry.full_name} removes the model",
            )
    last = home.read_state(resolve.LAST).get("model")
    if isinstance(last, str) and resolve.last_used_model() is None:
        yield Finding(
            f"the model used last, {last}, no longer exists: {resolve.DEFAULT} is used instead",
            "dslocal ask -m NAME makes another model the default",
        )
    try:
        named = user_settings.named_model(None)
        if named:
            resolve.resolve_model(named)
    except UsageError:
        return  # config.toml itself, which check_settings() has found
    except DslocalError as e:
        yield Finding(f"the configured model: {e}", e.hint, stops=True)


def check_leftovers(found: list[Leftover]) -> Iterator[Finding]:
    """Find leftovers of interrupted work, if they take much disk."""
    total = sum(leftover.nbytes for leftover in found)
    if total >= MAX_LEFTOVERS:
        yield Finding(
            f"interrupted downloads and conversions left {binary_size(total)}",
            "dslocal rm --leftovers deletes what is not in use",
        )


def check_engine(build: Build, machine: Machine, cpu_flags: frozenset[str]) -> Iterator[Finding]:
    """Find a build of llama.cpp that leaves a GPU or much of the CPU unused.

    Args:
        build: The build.
        machine: This machine.
        cpu_flags: What the CPU can do, in lower case.
    """
    if not build.gpu_offload and shutil.which("nvidia-smi"):
        yield Finding(
            "this machine seems to have an NVIDIA GPU, and llama.cpp is built without CUDA:"
            " models run on the CPU alone",
            f"CMAKE_ARGS=-DGGML_CUDA=on {REBUILD}",
        )
    if any(METAL_OFF in note for note in machine.notes):
        yield Finding(
            "llama.cpp is built without Metal: models run on the CPU alone, not on the Mac's GPU",
            f"CMAKE_ARGS=-DGGML_METAL=on {REBUILD}",
        )
    yield from _check_simd(build, cpu_flags)
    if 0 < machine.available < MIN_FREE_RAM:
        yield Finding(
            f"{binary_size(machine.available)} of memory are free",
            "close other programs; dslocal fit shows what runs in this memory",
        )


def _check_simd(build: Build, cpu_flags: frozenset[str]) -> Iterator[Finding]:
    """Find vector instructions of the CPU that llama.cpp was not built for."""
    mend = f"CMAKE_ARGS=-DGGML_NATIVE=on {REBUILD}"
    unused = [name for name in SIMD if name.lower() in cpu_flags and name not in build.features]
    if unused:
        yield Finding(
            f"llama.cpp is built without {', '.join(unused)}, which this CPU has: it is slow", mend
        )
        return  # the same build mends both
    wide = [name for flag, name in WIDE_SIMD.items() if flag in cpu_flags]
    unused = [name for name in wide if name not in build.features]
    if unused:
        yield Finding(
            f"llama.cpp is built without {', '.join(unused)}, which this CPU has: prompts are"
            " evaluated more slowly than they could be",
            mend,
        )


def _suggest(name: str, known: tuple[str, ...], otherwise: str) -> str:
    near = get_close_matches(name, known, 1, MIN_LIKENESS)
    return f"did you mean {near[0]}?" if near else otherwise
