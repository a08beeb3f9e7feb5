"""Prove what ``import dslocal`` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import pytest
from support.cli.running import python

import dslocal

PUBLIC = [
    "Answer",
    "AnswerStream",
    "Chat",
    "CheckpointError",
    "ContextOverflowError",
    "ConversionError",
    "DoesNotFitError",
    "Done",
    "DownloadError",
    "DslocalError",
    "EngineError",
    "EngineMissingError",
    "GgufError",
    "Message",
    "Model",
    "ModelPlan",
    "NotFoundError",
    "OutOfMemoryError",
    "Quality",
    "Reasoning",
    "RemoteEngineError",
    "SchemaError",
    "Text",
    "Timings",
    "Tool",
    "ToolCall",
    "UnreachableError",
    "UnsupportedModelError",
    "Usage",
    "UsageError",
    "WorkerError",
    "__version__",
    "convert",
    "load",
    "plan",
    "quality",
    "quantize",
]


def test_the_public_names() -> None:
    assert dslocal.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(dslocal))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(dslocal, name)
    assert callable(value)
    assert value.__doc__


def test_errors_are_those_of_the_command_line() -> None:
    from dslocal import errors

    found = {name for name in errors.__all__ if name.endswith("Error")}
    assert found == {name for name in PUBLIC if name.endswith("Error")}
    assert dslocal.DoesNotFitError("x").exit_code == 4


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = dslocal.lode  # type: ignore[attr-defined]


def test_the_import_loads_nothing() -> None:
    program = "import sys, dslocal; print(*(m for m in sys.modules if m.startswith('dslocal.')))"
    assert python(program).stdout.split() == []


@pytest.mark.parametrize(
    "first",
    [
        "",
        "import dslocal.convert, dslocal.plan",
        "from dslocal.convert import write_gguf; from dslocal.plan import search",
        "dslocal.load; dslocal.Model",
    ],
)
@pytest.mark.parametrize("name", ["convert", "plan"])
def test_packages_are_functions_too(name: str, first: str) -> None:
    program = f"""
import dslocal
{first}
try:
    dslocal.{name}()
except TypeError as e:
    print("called", type(dslocal.{name}).__mro__[1].__name__, "missing" in str(e))
"""
    done = python(program)
    assert done.stdout.split() == ["called", "module", "True"], done.stderr
