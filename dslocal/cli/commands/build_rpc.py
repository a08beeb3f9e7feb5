"""``dslocal build-rpc``: build the library that runs one model on several machines."""

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
            help="The source of llama-cpp-python, a .tar.gz. [downloaded with pip]",
            show_default=False,
        ),
    ] = None,
    force: ReplaceFile = False,
) -> None:
    """Build the library that --rpc and dslocal worker need.

    It is llama.cpp's own RPC backend. Building it from llama-cpp-python's source takes half a
    minute and a C++ compiler; dslocal keeps the result in its cache. It is not needed where
    llama-cpp-python was built with GGML_RPC.
    """
    from dslocal.rpc.build import build_library
    from dslocal.rpc.library import find_library
    from dslocal.terminal.sanitise import sanitise_line

    found = None if force else find_library()
    if found is not None:
        print(f"{sanitise_line(found)} is there already")
        return
    made = build_library(sdist, lambda line: print(f"dslocal: {line}", file=sys.stderr))
    print(f"{sanitise_line(made)} was built")
