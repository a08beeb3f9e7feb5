"""``dslocal`` many times without starting Python each time: a process that has loaded llama.cpp
forks for every run.

For long tables of files that may end a process. A run ends with its exit status, negative for a
signal.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from support.cli.running import Run

PROGRAM = """
import io, json, os, resource, signal, sys, tempfile
import dslocal.chat, dslocal.engine
from dslocal.cli.main import main

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for line in sys.stdin:
    args = json.loads(line)
    file = tempfile.TemporaryFile()
    out = file.fileno()
    child = os.fork()
    if not child:
        os.dup2(out, 1)
        os.dup2(out, 2)
        signal.alarm(30)
        sys.stdin = io.TextIOWrapper(io.BytesIO())
        sys.argv = ["dslocal", *args]
        try:
            main()
        except SystemExit as e:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(e.code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    written = os.pread(out, 1 << 20, 0).decode("utf-8", "replace")
    file.close()
    print(json.dumps([status, written]), flush=True)
"""


class Forked:
    """The process that forks, in the home of ``run``. Use it as a context manager."""

    def __init__(self, run: Run) -> None:
        command = [sys.executable, "-P", "-c", PROGRAM]
        self._process = subprocess.Popen(
            command,
            env=run.env(),
            cwd=run.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def __call__(self, *args: str | Path) -> tuple[int, str]:
        """Run ``dslocal`` and return the exit status and all that was written."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(arg) for arg in args]) + "\n")
        self._process.stdin.flush()
        status, written = json.loads(self._process.stdout.readline())
        return status, written
