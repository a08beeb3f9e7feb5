"""Kernels that this process cannot load: for arm64, and with sanitizers, in a program of their own.

The bytes must be those that ggml writes on x86-64. On arm64 ggml itself writes others.
"""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from support.quantization import kernel_cases
from support.quantization.kernel_cases import GRIDS, KERNEL_TYPES, Case, cases_of

from dslocal.convert import kernels
from dslocal.convert.kernels import Bytes, init_quantization, quantize_with_ggml
from dslocal.convert.kernels.grids import GRID_TYPES, grid_levels
from dslocal.gguf.tensor_types import GgmlType

SOURCES = Path(kernels.__file__).parent
RUNNER = Path(kernel_cases.__file__).with_name("kernel_runner.c")
FLAGS = ("-std=gnu11", "-ffp-contract=off", "-Wno-psabi")  # as in setup.py
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="ggml's bytes are those of x86-64"),
]


class Build(NamedTuple):
    """How a program with the kernels is made and started."""

    compiler: str
    flags: Sequence[str]
    emulator: Sequence[str] = ()


BUILDS = {
    "arm64": Build("aarch64-linux-gnu-gcc", ("-O3", "-static"), ("qemu-aarch64",)),
    "sanitized baseline": Build("gcc", SANITIZED),
    "sanitized x86-64-v3": Build("gcc", (*SANITIZED, "-march=x86-64-v3")),
    "sanitized x86-64-v4": Build("gcc", (*SANITIZED, "-march=x86-64-v4")),
}


@pytest.fixture(scope="module", params=BUILDS.values(), ids=list(BUILDS))
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Compile the runner, and return how to start it."""
    build: Build = request.param
    for tool in (build.compiler, *build.emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    program = tmp_path_factory.mktemp("build") / "runner"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    flags = [*FLAGS, *build.flags, f"-I{SOURCES}", "-o", str(program)]
    subprocess.run([build.compiler, *flags, str(RUNNER), *sources, "-lm"], check=True)
    start = [*build.emulator, str(program)]
    probe = subprocess.run(start, input=b"", check=False)
    if probe.returncode < 0:
        pytest.skip("the processor lacks instructions that the build needs")
    return start


class Quantized(NamedTuple):
    """What the program made of a case.

    Attributes:
        written: uint8 ``[bytes]``.
        is_left: For each byte, whether it is of a block that is left to ggml.
    """

    written: Bytes
    is_left: NDArray[np.bool_]


def quantize_in_program(command: list[str], kind: GgmlType, cases: list[Case]) -> list[Quantized]:
    """Quantize all cases by the kernels of a program."""
    levels = grid_levels(kind) if kind in GRID_TYPES else np.empty((0, 0), np.uint8)
    sent = b""
    for case in cases:
        has_matrix = case.importance is not None
        nbytes = kind.nbytes(case.values.size)
        header = [int(kind), *case.values.shape, nbytes, has_matrix, *levels.shape]
        matrix = b"" if case.importance is None else case.importance.tobytes()
        sent += np.array(header, np.int64).tobytes() + levels.tobytes()
        sent += case.values.tobytes() + matrix
    answer = io.BytesIO(subprocess.run(command, input=sent, stdout=PIPE, check=True).stdout)
    return [read_answer(answer, kind, kind.nbytes(case.values.size)) for case in cases]


def read_answer(answer: io.BytesIO, kind: GgmlType, nbytes: int) -> Quantized:
    """Read what kernel_runner.c writes about one case."""
    is_left = np.zeros(nbytes, np.bool_)
    count = int.from_bytes(answer.read(8), "little")
    for first, weights in np.frombuffer(answer.read(16 * count), np.int64).reshape(-1, 2):
        is_left[first : first + kind.nbytes(int(weights))] = True
    return Quantized(np.frombuffer(answer.read(nbytes), np.uint8), is_left)


@pytest.mark.parametrize("kind", KERNEL_TYPES, ids=lambda kind: kind.name)
def test_every_build_writes_the_bytes_of_ggml(command: list[str], kind: GgmlType) -> None:
    init_quantization(kind)
    cases = list(cases_of(kind, seed=3, rows=2, columns=1280))
    for case, result in zip(cases, quantize_in_program(command, kind, cases), strict=True):
        if case.is_wild and kind in GRIDS:
            continue  # ggml would abort; that the program ended well is all there is to see
        expected = quantize_with_ggml(kind, case.values, case.importance)
        assert np.array_equal(result.written[~result.is_left], expected[~result.is_left]), case.name
