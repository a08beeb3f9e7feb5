"""Proves that ``dslocal doctor`` works without llama.cpp, and says what its build leaves unused, on
which machine, and which kernels are missing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.cli.doctor_answers import asked
from support.cli.running import Run

from dslocal.cli import doctor_checks
from dslocal.errors import EngineMissingError
from dslocal.plan.machine import llama_cpp_build as building
from dslocal.plan.machine.llama_cpp_build import Build
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.unused_gpu import METAL_OFF
from dslocal.terminal.reports import doctor_report

MACHINE = Machine("linux", "some", 4, 16 << 30, 8 << 30)
BROKEN = {
    "absent": "raise ModuleNotFoundError('no llama_cpp')",
    "does not load": "raise OSError('libllama.so: cannot open shared object file')",
    "ends its process": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    "prints and leaves": "import os; print('hello'); os._exit(3)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_without_llama_cpp(own: Run, tmp_path: Path, how: str) -> None:
    """One that is in the way of the real one, and cannot be used."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "llama_cpp.py").write_text(BROKEN[how])
    code, found = asked(own, env={"PYTHONPATH": str(tmp_path / "broken")})
    assert (code, found["ok"]) == (1, False)
    (problem,) = [problem for problem in found["problems"] if problem["stops"]]
    assert "llama" in problem["what"]
    assert "pip install" in problem["mend"]
    assert found["machine"]["ram"] > 0
    assert found["folders"]["cache"] == str(own.home / "cache")


@pytest.mark.timeout(120)
def test_a_process_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(building, "PROGRAM", "import time; time.sleep(600)")
    with pytest.raises(EngineMissingError, match="does not report its build"):
        building.probe_build()


@pytest.mark.parametrize(
    ("features", "flags", "gpu", "said"),
    [
        (("AVX", "AVX2", "FMA", "F16C"), "avx avx2 fma f16c", False, []),
        (
            ("AVX",),
            "avx avx2 fma f16c",
            False,
            ["llama.cpp is built without AVX2, FMA, F16C, which this CPU has: it is slow"],
        ),
        ((), "neon", False, []),
        (
            (),
            "",
            True,
            [
                "this machine seems to have an NVIDIA GPU, and llama.cpp is built without CUDA:"
                " models run on the CPU alone"
            ],
        ),
        (
            ("AVX", "AVX2", "FMA", "F16C"),
            "avx avx2 fma f16c avx512f avx512_vnni",
            False,
            [
                "llama.cpp is built without AVX512, AVX512_VNNI, which this CPU has: prompts are"
                " evaluated more slowly than they could be"
            ],
        ),
        (
            ("AVX", "AVX2", "FMA", "F16C", "AVX512", "AVX512_VNNI"),
            "avx avx2 fma f16c avx512f avx512_vnni",
            False,
            [],
        ),
        (
            ("AVX",),
            "avx avx2 avx512f",
            False,
            ["llama.cpp is built without AVX2, which this CPU has: it is slow"],
        ),
    ],
)
def test_a_build_that_leaves_much_unused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    features: tuple[str, ...],
    flags: str,
    gpu: bool,
    said: list[str],
) -> None:
    if gpu:
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(
        doctor_checks.check_engine(
            Build("0", "", features, (), gpu_offload=False), MACHINE, frozenset(flags.split())
        )
    )
    assert [problem.what for problem in found] == said
    assert all(
        "llama-cpp-python==0.3.36" in problem.mend and not problem.stops for problem in found
    )


def test_a_mac_whose_llama_cpp_lacks_metal() -> None:
    machine = replace(MACHINE, notes=(f"{METAL_OFF}; this changes it",))
    build = Build("0", "", (), (), gpu_offload=False)
    found = list(doctor_checks.check_engine(build, machine, frozenset()))
    assert ["Metal" in problem.what for problem in found] == [True]
    assert "-DGGML_METAL=on" in found[0].mend


@pytest.mark.parametrize(
    ("level", "compiled", "said"),
    [
        ("x86-64-v3", ["x86-64-v4", "x86-64-v3", "x86-64"], ""),
        ("x86-64", ["x86-64-v4", "x86-64-v3", "x86-64"], ""),  # an old processor
        ("baseline", ["baseline"], ""),  # arm64
        ("x86-64", ["x86-64"], "without AVX2"),
        (None, [], "were not compiled"),
    ],
)
def test_kernels_that_were_not_compiled(level: str | None, compiled: list[str], said: str) -> None:
    found = list(doctor_checks.check_kernels(level, compiled))
    assert len(found) == bool(said)
    for problem in found:
        assert said in problem.what
        assert "gcc" in problem.mend
        assert not problem.stops


def test_a_graph_filter_that_was_not_compiled() -> None:
    assert not list(doctor_checks.check_node_filter(is_compiled=True))
    (problem,) = doctor_checks.check_node_filter(is_compiled=False)
    assert "larger than the RAM give the same answers, more slowly" in problem.what
    assert "gcc" in problem.mend
    assert not problem.stops


# A part of the report, and what stands in its line.
LINES: dict[str, tuple[str, object, str]] = {
    "an RPC library": ("rpc", "/here/libggml-rpc.so", "rpc         /here/libggml-rpc.so\n"),
    "no RPC library": ("rpc", None, "rpc         none: dslocal build-rpc makes it, for --rpc\n"),
    "kernels": ("level", "x86-64-v4", "kernels     x86-64-v4\n"),
    "no kernels": (
        "level",
        None,
        "kernels     none: convert quantizes with llama.cpp's own code\n",
    ),
}


@pytest.mark.parametrize(("name", "value", "line"), LINES.values(), ids=LINES)
def test_parts_that_are_missing_say_what_makes_them(
    own: Run, capsys: pytest.CaptureFixture[str], name: str, value: object, line: str
) -> None:
    found = json.loads(own.inside("doctor", "--json").stdout)
    found["kernels" if name == "level" else "llama.cpp"][name] = value
    doctor_report.print_report(found, [])
    assert f"\n{line}" in capsys.readouterr().out
