"""Proves that the code keeps to its own plan: who imports whom, how long a file is, what a cold
start loads, what errors exit with.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import python

from dslocal import errors

ROOT = Path(__file__).parents[1]

# data flows one way: a part may import those before it
ORDER = (
    "errors",
    "outcome",
    "ggml",
    "gguf",
    "hub",
    "convert",
    "models",
    "fit",
    "offers",
    "engine",
    "launch",
    "chat",
    "ui",
    "server",
    "cli",
    "__main__",
)
STRANGERS = {
    ("convert", "hub"),
    ("server", "ui"),
}  # parts that may not meet although the order allows it
ONLY_IMPORTERS = {
    "huggingface_hub": {"hub"},
    "httpx2": {"hub"},
    "gguf": {"convert"},
    "llama_cpp": {"ggml", "engine"},
    "typer": {"cli"},
    "rich": {"ui"},
    "matplotlib": {"ui"},
    "prompt_toolkit": {"ui"},
    "llguidance": {"engine"},
    "jsonschema": {"chat"},
    "referencing": {"chat"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "pydantic": {"server"},
    "prometheus_client": {"server"},
    "greenlet": {"engine"},
}
HEAVY = (
    "llama_cpp",
    "numpy",
    "huggingface_hub",
    "httpx2",
    "gguf",
    "prompt_toolkit",
    "rich",
    "yaml",
    "markdown_it",
    "filelock",
    "charset_normalizer",
    "sympy",
    "llguidance",
    "jsonschema",
    "matplotlib",
    "starlette",
    "uvicorn",
    "pydantic",
    "prometheus_client",
    "greenlet",
)


def sources() -> list[Path]:
    return sorted(
        path for folder in ("dslocal", "convert") for path in (ROOT / folder).rglob("*.py")
    )


def module_of(path: Path) -> str:
    """The name that ``path`` is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(
        (*(("dslocal", "convert") if parts[0] == "convert" else parts[:1]), *parts[1:])
    ).removesuffix(".__init__")


def part_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("dslocal.") else ""


def imports(source: str, module: str, *, package: bool) -> Iterator[str]:
    """Every module that ``source`` imports, wherever in the file it does, by absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + package] if node.level else []
            yield from (
                ".".join([*base, *([node.module] if node.module else []), alias.name])
                for alias in node.names
            )


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    mine = part_of(module)
    found = []
    for name in imports(source, module, package=package):
        top, theirs = name.split(".")[0], part_of(name)
        if mine not in ONLY_IMPORTERS.get(top, {mine}):
            found.append(f"{module} imports {top}")
        if theirs and theirs not in (mine, "__version__"):
            if ORDER.index(theirs) > ORDER.index(mine):
                found.append(f"{module} imports {theirs}, which is above it")
            if (mine, theirs) in STRANGERS:
                found.append(f"{module} imports {theirs}")
    return found


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports(path: Path) -> None:
    module = module_of(path)
    assert module == "dslocal" or part_of(module) in ORDER, "say in ORDER where this belongs"
    assert (
        violations(path.read_text(encoding="utf-8"), module, package=path.stem == "__init__") == []
    )


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        ("dslocal.terminal.chat.answer_view", "from ..cli import main", True),
        (
            "dslocal.terminal.chat.answer_view",
            "def f():\n    from dslocal.cli.main import app",
            True,
        ),
        (
            "dslocal.terminal.chat.answer_view",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import server",
            True,
        ),
        ("dslocal.server.app", "from ..ui.terminal import sanitise", True),
        ("dslocal.prompts.families.r1", "from ...ui import terminal", True),
        ("dslocal.chat.session", "import rich.text", True),
        ("dslocal.convert.writer", "from ..hub import cache_dir", True),
        ("dslocal.engine.model", "import gguf", True),
        ("dslocal.catalog.resolve", "from llama_cpp import llama_cpp", True),
        ("dslocal.prompts.families.r1", "from ..messages import Message", False),
        ("dslocal.engine.model", "from ..gguf import read_header\nimport llama_cpp", False),
        ("dslocal.cli.main", "from .. import __version__\nimport typer", False),
    ],
)
def test_a_breach_is_noticed(module: str, source: str, broken: bool) -> None:
    assert bool(violations(source, module)) is broken


def test_convert_lives_at_the_root() -> None:
    link = ROOT / "dslocal" / "convert"
    assert link.is_symlink(), "a checkout must be importable as it is"
    assert link.readlink() == Path("../convert")


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
from dslocal.cli.main import app
try:
    app(["--help"])
except SystemExit:
    pass
print("loaded", *(name for name in {HEAVY} if name in sys.modules))
"""
    done = python(program)
    assert done.stdout.splitlines()[0].startswith("Usage:"), done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


@pytest.mark.parametrize("package", ["dslocal.engine", "dslocal.convert"])
def test_llama_cpp_is_loaded_before_numpy(package: str) -> None:
    # sys.modules is in the order in which imports ended; the library itself is loaded by
    # llama_cpp.llama_cpp
    done = python(
        f"import sys, {package}; print(*(name for name in sys.modules if name in ('llama_cpp.llama_cpp', 'numpy')))"
    )
    assert done.stdout.split() == ["llama_cpp.llama_cpp", "numpy"], done.stderr


def documented_errors() -> dict[str, tuple[int, str]]:
    """Exit code and parent of every error, as the table in ``dslocal.errors`` draws them."""
    found: dict[str, tuple[int, str]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if row := re.match(r"(\W*)(\w+Error)\s+(\d+)  ", line):
            depth = len(row[1])
            above = {d: name for d, name in above.items() if d < depth} | {depth: row[2]}
            found[row[2]] = (
                int(row[3]),
                above[max((d for d in above if d < depth), default=depth)],
            )
    return found


def test_errors_are_as_documented() -> None:
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.DslocalError)
    }
    assert {*classes, "ExitCode"} == set(errors.__all__)
    documented = documented_errors()
    assert set(documented) == set(classes)
    for name, (code, parent) in documented.items():
        assert classes[name].exit_code == code
        assert name == "DslocalError" or classes[name].__bases__ == (classes[parent],)
    assert len(documented) == 14
