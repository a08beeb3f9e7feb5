"""What ``dslocal doctor`` found, for people: a line a part, then every problem with its remedy."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dslocal.files import binary_size, decimal_size
from dslocal.terminal.sanitise import one_line

NAME_WIDTH = 12  # cells
MIN_TEXT_WIDTH = 20  # cells of a line's text, however narrow the terminal is
MAX_LINE = 2000  # characters
Fields = Mapping[str, Any]
Rows = Iterator[tuple[str, str]]  # names and texts; lines below a name have none


def print_report(found: Fields, problems: Sequence[Fields]) -> None:
    """Print what was found and what is wrong, both as ``dslocal doctor --json`` has them."""
    for name, text in _rows(found):
        _print(name.ljust(NAME_WIDTH), text)
    print()
    for problem in problems:
        mark = "✗ " if problem["stops"] else "! "
        _print(mark, f"{problem['what']} → {problem['mend']}")
    stopping = sum(problem["stops"] for problem in problems)
    if not problems:
        print("nothing is wrong")
    elif not stopping:
        print(f"{len(problems)} to look at; none of it prevents running")
    else:
        print(f"{len(problems)} to look at; {stopping} of them, with ✗, must be mended first")


def _print(head: str, text: str) -> None:
    """Print one line; on a terminal as many as it takes, aligned below each other."""
    line = one_line(text, MAX_LINE)
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns - len(head) - 1, MIN_TEXT_WIDTH)
        lines = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        line = f"\n{' ' * len(head)}".join(lines)
    print(head + line)


def _rows(found: Fields) -> Rows:
    yield from _program_rows(found["dslocal"])
    yield from _machine_rows(found["machine"])
    yield "llama.cpp", _engine(found["llama.cpp"])
    if "rpc" in found["llama.cpp"]:
        yield "rpc", found["llama.cpp"]["rpc"] or "none: dslocal build-rpc makes it, for --rpc"
    if kernels := found["kernels"]:
        yield "kernels", kernels["level"] or "none: convert quantizes with llama.cpp's own code"
    yield from found["folders"].items()
    yield "disk", _disk(found["cache"])
    config = found["config"]
    yield "config.toml", config["path"] if config["exists"] else f"{config['path']} (none)"
    variables = [f"{name}={value}" for name, value in found["environment"].items()]
    yield "environment", ", ".join(variables) or "nothing that matters is set"
    models = found["models"]
    kept = ", ".join(models["kept"]) or "nano alone"
    yield "models", f"{kept}; used last: {models['last_used'] or 'none'}"
    if hub := found["hub"]:
        where = "offline" if hub["offline"] else hub["endpoint"]
        yield "hub", f"{where}; downloads in {hub['downloads']}"
    yield "terminal", _terminal(found["terminal"])


def _program_rows(program: Fields) -> Rows:
    yield "dslocal", f"{program['version']}, {program['python']} in {program['executable']}"
    packages = [
        f"{name} {version or 'not installed'}" for name, version in program["packages"].items()
    ]
    yield "packages", ", ".join(packages)


def _machine_rows(machine: Fields) -> Rows:
    memory = f"{_gib(machine['ram'])} RAM ({_gib(machine['available'])} free)"
    yield "machine", f"{machine['cpu']}, {machine['cores']} cores, {memory}, {machine['os']}"
    if machine["limited_by"]:
        yield "", f"limited by {machine['limited_by']}"
    for gpu in machine["gpus"]:
        memory = f"{_gib(gpu['total'])}, {_gib(gpu['free'])} free"
        yield "gpu", f"{gpu['name']} ({gpu['kind']}), {memory}"
    if not machine["gpus"]:
        yield "gpu", "none that llama.cpp can use"
    for note in machine["notes"]:
        yield "", note


def _engine(engine: Fields) -> str:
    if "error" in engine:
        return str(engine["error"])
    backends, features = ", ".join(engine["backends"]), " ".join(engine["features"])
    return f"llama-cpp-python {engine['version']}, for {backends}; uses {features}"


def _disk(cache: Fields) -> str:
    free = "an unknown amount" if cache["disk_free"] is None else decimal_size(cache["disk_free"])
    taken = decimal_size(cache["bytes"])
    if cache["prompts"]:
        taken += f", {decimal_size(cache['prompts'])} of it evaluated prompts"
    return f"the cache takes {taken}; {free} free"


def _terminal(terminal: Fields) -> str:
    text = (
        f"{terminal['name']}, {terminal['columns']} × {terminal['lines']},"
        f" colours: {terminal['colour']}, Unicode: {'yes' if terminal['unicode'] else 'no'},"
        f" clipboard (OSC 52): {terminal['clipboard']}"
    )
    return text if terminal["interactive"] else f"{text}; not interactive here"


def _gib(nbytes: int) -> str:
    return binary_size(nbytes, gib_from=0)
