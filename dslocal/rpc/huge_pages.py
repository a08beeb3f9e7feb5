"""Have malloc take huge pages, in which a worker holds its weights.

A worker's weights are memory of its own, in pages of 4 KiB that may lie anywhere. On a machine that
had been used for hours, workers read them more slowly than the pages of a mapped file: a model
generated 2.8 tokens/s in place of 3.9, and 4.1 in huge pages (tests/benchmarks/rpc_namespaces.py).
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.hugetlb"
MADVISE = "1"  # asks the kernel for huge pages, which it gives where it has them


def restart_with_huge_pages() -> None:
    """Start this program again with a malloc that takes huge pages.

    glibc reads its settings when a program starts. Returns where it has been done, where the user
    has decided otherwise, and where the C library is another one. Source: glibc's manual, "Memory
    Allocation Tunables".
    """
    given = os.environ.get(VARIABLE, "")
    if TUNABLE in given or not sys.executable or platform.libc_ver()[0] != "glibc":
        return
    os.environ[VARIABLE] = ":".join([*filter(None, [given]), f"{TUNABLE}={MADVISE}"])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program
