"""Proves that the table of tensor types is ggml's own, and that an engine that is absent, old or
broken is one clear line.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from support.cli.running import Run, python

from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType

REQUIRE = """
from dslocal.gguf import libraries
from dslocal.errors import EngineMissingError
try:
    libraries.require()
except EngineMissingError as e:
    print(e, e.hint, sep="\\n")
"""


@pytest.mark.parametrize("kind", GgmlType, ids=lambda kind: kind.name)
def test_layout_is_the_library_s(kind: GgmlType) -> None:
    block = libraries.symbol("ggml_blck_size", ctypes.c_int64, ctypes.c_int)(kind)
    nbytes = libraries.symbol("ggml_type_size", ctypes.c_size_t, ctypes.c_int)(kind)
    name = libraries.symbol("ggml_type_name", ctypes.c_char_p, ctypes.c_int)(kind)
    assert (kind.block, kind.nbytes(kind.block), kind.nbytes(3 * kind.block)) == (
        block,
        nbytes,
        3 * nbytes,
    )
    assert name.decode().upper() == kind.name


@pytest.mark.parametrize(
    ("stub", "complaint"),
    [
        pytest.param(
            "raise ModuleNotFoundError(\"No module named 'llama_cpp'\")",
            "is not installed",
            id="absent",
        ),
        pytest.param(
            "raise OSError('libggml.so: cannot open\\nshared object file')",
            "does not load",
            id="broken library",
        ),
        pytest.param(
            "raise RuntimeError('Shared library not found')", "does not load", id="no library"
        ),
        pytest.param("from . import llama_cpp", "lacks llama_memory_seq_rm", id="too old"),
    ],
)
def test_a_bad_engine_is_one_line(
    tmp_path: Path, home: Path, nano: Path, stub: str, complaint: str
) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text(stub)
    (package / "llama_cpp.py").write_text(
        "class llama_model_params:\n    _fields_ = [('vocab_only', int)]\n_lib = object()\n"
    )
    done = python(REQUIRE, env={"PYTHONPATH": str(tmp_path)})
    message, hint = done.stdout.rstrip("\n").rsplit("\n", 1)
    assert complaint in message
    assert hint == "pip install 'llama-cpp-python==0.3.36'"

    asked = Run(home)("ask", "hello", env={"PYTHONPATH": str(tmp_path)})
    assert (asked.returncode, asked.stdout, asked.stderr.count(b"\n")) == (1, b"", 1)
    assert complaint in asked.stderr.decode()
    assert hint in asked.stderr.decode()


def test_the_engine_here_is_good() -> None:
    assert python(REQUIRE).stdout == ""
    assert libraries.require() is libraries.require()
