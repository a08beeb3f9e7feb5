"""Proves that the code follows its architecture: which package imports which, what a cold start
loads, and the exit codes of errors.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from support.cli.running import BINARY, clean_environment, python

from dslocal import errors

ROOT = Path(__file__).parents[1]

BREACHES = [  # a package, an import in it, and what import-linter says is imported
    ("terminal", "from dslocal import cli", "dslocal.cli"),
    ("evaluation", "def f():\n    import dslocal.server", "dslocal.server"),
    ("chat", "if TYPE_CHECKING:\n    from dslocal import terminal", "dslocal.terminal"),
    ("server", "from dslocal import terminal", "dslocal.terminal"),
    ("convert", "from .. import hub", "dslocal.hub"),
    ("output", "import rich.text", "rich"),
    ("engine", "import gguf", "gguf"),
    ("catalog", "from llama_cpp import llama_cpp", "llama_cpp"),
    ("prompts", "import typer", "typer"),
]
HEAVY = (
    "llama_cpp",
    "numpy",
    "psutil",
    "huggingface_hub",
    "httpx2",
    "gguf",
    "prompt_toolkit",
    "rich",
    "yaml",
    "markdown_it",
    "filelock",
    "charset_normalizer",
    "llguidance",
    "jsonschema",
    "matplotlib",
    "starlette",
    "uvicorn",
    "pydantic",
    "prometheus_client",
    "greenlet",
)


# What --help needs of the packages below the command line: messages, and no models.
LIGHT = (
    "dslocal.errors",
    "dslocal.files",
    "dslocal.terminal.sanitise",
    "dslocal.server.wire.logprobs",
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml on the package in ``folder``."""
    return subprocess.run(
        [str(BINARY.with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_are_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_breach_is_noticed(tmp_path: Path) -> None:
    sources = shutil.ignore_patterns("__pycache__", "*.yaml", "nano", "topics")
    shutil.copytree(ROOT / "dslocal", tmp_path / "dslocal", ignore=sources)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, source, _ in BREACHES:
        file = tmp_path / "dslocal" / package / "__init__.py"
        file.write_text(f"{file.read_text(encoding='utf-8')}\n{source}\n", encoding="utf-8")
    (tmp_path / "dslocal" / "misplaced.py").touch()
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    for package, _, imported in BREACHES:
        assert f"dslocal.{package} -> {imported} " in done.stdout, done.stdout
    assert "dslocal.misplaced" in done.stdout


def import_cycle(graph: grimp.ImportGraph) -> list[str]:
    """Return the first cycle of files that import each other, the first one twice; none without.

    All imports count, those inside functions and those for types too. What an ``__init__.py``
    imports does not: it only hands names on.
    """
    packages = {module for module in graph.modules if graph.find_children(module)}
    files = graph.modules - packages
    imported = {file: graph.find_modules_directly_imported_by(file) & files for file in files}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as e:
        return list(e.args[1])
    return []


def test_files_do_not_import_each_other() -> None:
    graph = grimp.build_graph("dslocal", cache_dir=None)
    assert len(graph.modules) > 500
    assert import_cycle(graph) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .upper import name",
        "def f():\n    import invented.upper",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from invented import upper",
    ],
)
def test_a_cycle_is_noticed(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "invented"
    package.mkdir()
    (package / "__init__.py").write_text("from .upper import name\n")
    (package / "upper.py").write_text("from .lower import name\n")
    (package / "lower.py").write_text("name = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_cycle(grimp.build_graph("invented", cache_dir=None)) == []
    (package / "lower.py").write_text(f"{source}\n")
    found = import_cycle(grimp.build_graph("invented", cache_dir=None))
    assert set(found) == {"invented.lower", "invented.upper"}


def test_ci_runs_the_readmes_second_command() -> None:
    commands = [
        line
        for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("python3 -m venv")
    ]
    assert commands[1].endswith("&& pytest")
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


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


def test_help_loads_no_package_below_the_command_line() -> None:
    program = """
import sys
from dslocal.cli.main import app
app(["--help"], standalone_mode=False)
print("loaded", *(name for name in sys.modules if name.startswith("dslocal.")))
"""
    done = python(program)
    loaded = done.stdout.splitlines()[-1].split()
    own = [name for name in loaded if not name.startswith("dslocal.cli")]
    packages = {name.rpartition(".")[0] for name in LIGHT} | {"dslocal.server"}
    assert loaded[0] == "loaded", done.stderr
    assert set(own[1:]) <= {*LIGHT, *packages}


def test_no_command_loads_llama_cpp_as_it_is_imported() -> None:
    """Once llama.cpp is loaded, the supervisor cannot fork any more. What a command imports when
    it runs may load it: it has forked by then.
    """
    program = """
import importlib, pkgutil, sys
import dslocal.cli
from dslocal.cli import commands
for package in (dslocal.cli, commands):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(len(sys.modules) > 100, "llama_cpp" in sys.modules)
"""
    assert python(program).stdout == "True False\n"


@pytest.mark.parametrize("package", ["dslocal.engine", "dslocal.convert"])
def test_llama_cpp_is_loaded_before_numpy(package: str) -> None:
    # sys.modules is in the order in which imports ended; the library itself is loaded by
    # llama_cpp.llama_cpp
    done = python(
        f"import sys, {package}; print(*(name for name in sys.modules if name in"
        f" ('llama_cpp.llama_cpp', 'numpy')))"
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
    assert {*classes, "ExitCode", "Terminated"} == set(errors.__all__)
    documented = documented_errors()
    assert set(documented) == set(classes)
    for name, (code, parent) in documented.items():
        assert classes[name].exit_code == code
        assert name == "DslocalError" or classes[name].__bases__ == (classes[parent],)
    assert len(documented) == 17
