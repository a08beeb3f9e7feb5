"""``dslocal build-rpc``: the library by which several machines run one model, made once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli.options import ReplaceFile


def build_rpc(
    *,
    sdist: Annotated[
        Path | None,
        typer.Option(
            "--sdist",
            metavar="FILE",
            help="llama-cpp-python's source, a .tar.gz. [pip fetches it]",
            show_default=False,
        ),
    ] = None,
    force: ReplaceFile = False,
) -> None:
    """Make the library for --rpc and worker, once.

    It is llama.cpp's own RPC backend, built from llama-cpp-python's source. That needs a C++
    compiler and half a minute, and the result lies in dslocal's cache. A llama-cpp-python that was
    built with GGML_RPC has it already.
    """
    from dslocal.rpc.build import build_library
    from dslocal.rpc.library import find_library

    found = None if force else find_library()
    if found is not None:
        print(f"{found}: is there already")
        return
    made = build_library(sdist, lambda line: print(f"dslocal: {line}", file=sys.stderr))
    print(f"{made}: made")
