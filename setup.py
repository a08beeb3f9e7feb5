"""Compile the package's C. Everything else of the package is in pyproject.toml.

The quantization kernels are the same C, compiled once for each level of the processor, into a plain
shared object each, which dslocal.convert.kernels loads by ctypes. A level that does not compile is
left out, and without a compiler all levels are; ggml's own quantizers then do the work. If the
filter of dslocal.engine.graph.node_filter does not compile, Python does its work.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = "dslocal.convert.kernels"
FOLDER = Path("dslocal/convert/kernels")
FILTER = "dslocal.engine.graph.libnode_filter"  # not as the Python module beside it
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-fast-math",
    "-ffp-contract=off",  # a fused multiply-add rounds once where ggml rounds twice
    "-fvisibility=hidden",
    "-Wno-psabi",
]
X86_64 = ("x86-64", "x86-64-v3", "x86-64-v4")  # named as -march does


def levels() -> dict[str, list[str]]:
    """Return the shared objects to build on this platform, each with its own compiler flags."""
    if sysconfig.get_platform().endswith(("x86_64", "amd64")):
        return {level: [f"-march={level}"] for level in X86_64}
    return {"baseline": []}


class BuildKernels(build_ext):
    """Names a shared object after its source or level alone: it is no Python module."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the file of an extension: a path below the folder that it is built into."""
        *folders, level = fullname.split(".")
        return str(Path(*folders, f"{level}.so"))


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            f"{PACKAGE}.{level}",
            sources=sorted(map(str, FOLDER.glob("*.c"))),
            depends=["setup.py", *sorted(map(str, FOLDER.glob("*.h")))],
            extra_compile_args=[*FLAGS, *flags],
            libraries=["m"],
            optional=True,
        )
        for level, flags in levels().items()
    ]
    + [
        Extension(
            FILTER,
            sources=["dslocal/engine/graph/node_filter.c"],
            depends=["setup.py"],
            extra_compile_args=FLAGS,
            optional=True,
        )
    ],
)
