"""What ``dslocal doctor`` found, for people: a line for each part, then every problem with what
mends it.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dslocal.files import binary_size, decimal_size
from dslocal.terminal.sanitise import one_line

WIDTH = 12  # columns of names


def print_report(found: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> None:
    """``found`` and ``problems`` as ``--json`` has them."""
    for name, text in _lines(found):
        _print(name.ljust(WIDTH), text)
    print()
    for problem in problems:
        _print("✗ " if problem["stops"] else "! ", f"{problem['what']} → {problem['mend']}")
    stopping = sum(problem["stops"] for problem in problems)
    if not problems:
        print("nothing is wrong")
    elif not stopping:
        print(f"{len(problems)} to look at; none of it prevents running")
    else:
        print(f"{len(problems)} to look at; {stopping} of them, with ✗, must be mended first")


def _print(head: str, text: str) -> None:
    """One line; on a terminal as many as it takes, below each other."""
    line = one_line(text, 2000)
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns - len(head) - 1, 20)
        line = f"\n{' ' * len(head)}".join(
            textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        )
    print(head + line)


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    own, machine, engine = found["dslocal"], found["machine"], found["llama.cpp"]
    yield "dslocal", f"{own['version']}, {own['python']} in {own['executable']}"
    yield (
        "packages",
        ", ".join(f"{name} {version or 'not there'}" for name, version in own["packages"].items()),
    )
    memory = f"{binary_size(machine['ram'], gib_from=0)} RAM ({binary_size(machine['available'], gib_from=0)} free)"
    yield "machine", f"{machine['cpu']}, {machine['cores']} cores, {memory}, {machine['os']}"
    if machine["limited_by"]:
        yield "", f"limited by {machine['limited_by']}"
    for gpu in machine["gpus"]:
        yield (
            "gpu",
            f"{gpu['name']} ({gpu['kind']}), {binary_size(gpu['total'], gib_from=0)}, {binary_size(gpu['free'], gib_from=0)} free",
        )
    if not machine["gpus"]:
        yield "gpu", "none that llama.cpp can use"
    for note in machine["notes"]:
        yield "", note
    if "error" in engine:
        yield "llama.cpp", engine["error"]
    else:
        yield (
            "llama.cpp",
            f"llama-cpp-python {engine['version']}, for {', '.join(engine['backends'])}; uses {' '.join(engine['features'])}",
        )
    yield from found["folders"].items()
    cache, hub, models = found["cache"], found["hub"], found["models"]
    free = "an unknown amount" if cache["disk_free"] is None else decimal_size(cache["disk_free"])
    yield "disk", f"the cache takes {decimal_size(cache['bytes'])}; {free} free"
    yield "config.toml", found["config"]["path"] + ("" if found["config"]["exists"] else " (none)")
    yield (
        "environment",
        ", ".join(f"{name}={value}" for name, value in found["environment"].items())
        or "nothing that matters is set",
    )
    yield (
        "models",
        f"{', '.join(models['kept']) or 'nano alone'}; used last: {models['last_used'] or 'none'}",
    )
    if hub:
        yield (
            "hub",
            f"{'offline' if hub['offline'] else hub['endpoint']}; downloads in {hub['downloads']}",
        )
    shown = found["terminal"]
    what = f"{shown['name']}, {shown['columns']} × {shown['lines']}, colours: {shown['colour']}"
    what += f", Unicode: {'yes' if shown['unicode'] else 'no'}"
    yield (
        "terminal",
        f"{what}, clipboard (OSC 52): {shown['clipboard']}"
        + ("" if shown["interactive"] else "; not interactive here"),
    )
