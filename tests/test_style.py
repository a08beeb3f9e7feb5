"""Keep the code plain where ruff has no rule for it: literals, conditions, slices, sizes, words."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FUNCTION_LINES = 50  # without the docstring
MAX_COMMAND_LINES = 40  # of a command's body: parse, make objects, call
MAX_PARAMETERS = 8
MAX_FOLDER_FILES = 14
MAX_TARGETS = 2  # of one tuple assignment

# Folders that are lists, one file an entry, may be longer.
LISTS = ("dslocal/prompts/families", "dslocal/cli/commands", "convert/architectures")

# Functions that may be longer, each with its reason.
LONG_FUNCTIONS: dict[str, str] = {}
# Functions that may take more parameters, each with its reason. Typer commands are exempt.
MANY_PARAMETERS: dict[str, str] = {
    "dslocal/api/conversion.py::convert": "public, keyword-only: one a thing that a user decides",
    "dslocal/api/quantization/quantize.py::quantize": "public, keyword-only: those of convert",
    "dslocal/api/model.py::ask": "public, keyword-only: one a thing that a user decides",
    "dslocal/api/loading.py::load": "public, keyword-only: one a thing that a user decides",
    "dslocal/api/model.py::stream": "public, keyword-only: those of ask",
    "dslocal/api/planning/model_plan.py::plan": "public: one a thing that a user decides",
    "dslocal/engine/sampling/sampler.py::__init__": "each setting of sampling by its usual name",
}

# Words of the glossary in CONTRIBUTING.md that the code does not use. The vendors' own words and
# what a model reads are exempt, by file.
BANNED_WORDS = re.compile(r"\b(makers?|thoughts?)\b", re.IGNORECASE)
QUOTED_WORDS: dict[str, str] = {}


def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:  # not a checkout
        folders = ("dslocal", "convert", "tests", "examples")
        return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def product_files() -> list[Path]:
    return [path for path in python_files() if path.relative_to(ROOT).parts[0] in PRODUCT]


PRODUCT = ("dslocal", "convert")


def is_packed(node: ast.AST) -> bool:
    """Return whether a literal is packed with ``*(…)`` or ``**{…}``, to keep it on few lines."""
    literals = (ast.Tuple, ast.List, ast.Set)
    if isinstance(node, literals):
        return any(isinstance(e, ast.Starred) and isinstance(e.value, literals) for e in node.elts)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return any(key is None and isinstance(value, ast.Dict) for key, value in pairs)
    return False


def is_nested_condition(node: ast.AST) -> bool:
    """Return whether a conditional expression holds another one directly."""
    if not isinstance(node, ast.IfExp):
        return False
    return any(isinstance(part, ast.IfExp) for part in (node.test, node.body, node.orelse))


def is_boolean(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Compare) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


def is_boolean_arithmetic(node: ast.AST) -> bool:
    """Return whether a slice or a sum is made with a truth value as if it were a number."""
    if isinstance(node, ast.Slice):
        return any(is_boolean(part) for part in (node.lower, node.upper, node.step))
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
        return is_boolean(node.left) or is_boolean(node.right)
    return False


def is_wide_assignment(node: ast.AST) -> bool:
    """Return whether three or more names are assigned from one tuple that is written out."""
    return (
        is_wide_unpacking(node)
        and isinstance(node, ast.Assign)
        and isinstance(node.value, (ast.Tuple, ast.List))
    )


def is_wide_unpacking(node: ast.AST) -> bool:
    """Return whether three or more names are assigned at once, from whatever."""
    return isinstance(node, ast.Assign) and any(
        isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) > MAX_TARGETS
        for target in node.targets
    )


RULES = {
    "packed literal": is_packed,
    "nested conditional expression": is_nested_condition,
    "arithmetic on a truth value": is_boolean_arithmetic,
    "assignment to three or more targets": is_wide_assignment,
}
# In the product a result of three or more parts has names: a dataclass or a NamedTuple. Tests may
# take a row of their tables apart.
PRODUCT_RULES = {**RULES, "assignment to three or more targets": is_wide_unpacking}


def breaches(source: str, *, product: bool = True) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for name, rule in (PRODUCT_RULES if product else RULES).items():
            if rule(node):
                yield f"line {getattr(node, 'lineno', '?')}: {name}"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_plain_expressions(path: Path) -> None:
    product = path.relative_to(ROOT).parts[0] in PRODUCT
    assert list(breaches(path.read_text(encoding="utf-8"), product=product)) == []


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ("a = [*(1, 2), 3]", "packed literal"),
        ("a = {**{'b': 1}, 'c': 2}", "packed literal"),
        ("a = 1 if b else 2 if c else 3", "nested conditional expression"),
        ("a = b[not c :]", "arithmetic on a truth value"),
        ("a = b + (c > 1)", "arithmetic on a truth value"),
        ("a, b, c = d", "assignment to three or more targets"),
    ],
)
def test_a_breach_is_noticed(source: str, breach: str) -> None:
    assert list(breaches(source)) == [f"line 1: {breach}"]


@pytest.mark.parametrize(
    "source", ["a = [*b, 3]", "a = {**b, 'c': 1}", "a = b[c:d]", "a, b = b, a", "a = b if c else d"]
)
def test_plain_code_is_left_alone(source: str) -> None:
    assert list(breaches(source)) == []


def test_tests_may_take_rows_apart() -> None:
    assert list(breaches("a, b, c = d", product=False)) == []
    assert len(list(breaches("a, b, c = 1, 2, 3", product=False))) == 1


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[tuple[str, Function]]:
    """Yield every function of a file with the name that exceptions are listed by."""
    shown = path.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield f"{shown}::{node.name}", node


def lines_of(function: Function) -> int:
    """Return how many lines a function has without its docstring."""
    first = function.body[0]
    documented = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        documented = (first.end_lineno or first.lineno) - first.lineno + 1
    return (function.end_lineno or function.lineno) - function.lineno + 1 - documented


def is_command(function: Function) -> bool:
    """Return whether Typer reads the parameters as options: they become objects at once."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    return any("Annotated[" in ast.unparse(a.annotation) for a in arguments if a.annotation)


def test_functions_are_short() -> None:
    found = {
        name
        for path in product_files()
        for name, f in functions(path)
        if lines_of(f) > MAX_FUNCTION_LINES and not is_command(f)
    }
    assert found == set(LONG_FUNCTIONS)


def test_commands_are_short() -> None:
    found = set()
    for path in product_files():
        for name, function in functions(path):
            first, last = function.body[0], function.body[-1]
            if isinstance(first, ast.Expr) and len(function.body) > 1:
                first = function.body[1]
            lines = (last.end_lineno or last.lineno) - first.lineno + 1
            if is_command(function) and lines > MAX_COMMAND_LINES:
                found.add(name)
    assert found == set()


def test_functions_have_few_parameters() -> None:
    found = set()
    for path in product_files():
        for name, function in functions(path):
            arguments = function.args
            count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            if count > MAX_PARAMETERS and not is_command(function):
                found.add(name)
    assert found == set(MANY_PARAMETERS)


def documented_arguments(function: Function) -> list[str]:
    """Return the names that the entries of a docstring's ``Args`` section have."""
    documented = ast.get_docstring(function) or ""
    section = re.search(r"^Args:\n((?:(?: +.*)?(?:\n|$))+)", documented, re.MULTILINE)
    entries = re.findall(r"^ {4}(\S.*)", section[1], re.MULTILINE) if section else []
    names = [entry.partition(":")[0] for entry in entries]
    return [name.strip().lstrip("*") for together in names for name in together.split(",")]


def test_documented_arguments_are_parameters() -> None:
    """A continued line that is not indented, say, reads as another argument in the site."""
    found = []
    for path in product_files():
        for name, function in functions(path):
            arguments = function.args
            known = {a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg)}
            found += [f"{name}: {a}" for a in documented_arguments(function) if a not in known]
    assert found == []


def test_folders_are_small() -> None:
    counts: dict[str, int] = {}
    for path in product_files():
        folder = str(path.parent.relative_to(ROOT))
        counts[folder] = counts.get(folder, 0) + 1
    large = {f: n for f, n in counts.items() if n > MAX_FOLDER_FILES and f not in LISTS}
    assert large == {}


def test_no_class_has_two_meanings() -> None:
    found: dict[str, list[str]] = {}
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_the_words_of_the_glossary() -> None:
    found = []
    for path in product_files():
        shown = str(path.relative_to(ROOT))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if BANNED_WORDS.search(line) and shown not in QUOTED_WORDS:
                found.append(f"{shown}:{number}: {line.strip()}")
    assert found == []
