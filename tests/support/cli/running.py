"""Run the real ``dslocal``, as a process or inside this one, and small Python programs."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.waiting import run_to_end

from dslocal.cli.main import main

Done = subprocess.CompletedProcess[bytes]
BINARY = Path(sysconfig.get_path("scripts")) / "dslocal"
LIMIT_S = 120
CHANGES_OUTPUT = ("NO_COLOR", "TERM", "PYTHONPATH", "COLUMNS", "LINES")


@dataclass(frozen=True)
class Run:
    """Calls ``dslocal`` with its own home and a clean environment; bytes in and out."""

    home: Path

    def __call__(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        command = [str(BINARY), *map(str, args)]
        return run_to_end(
            command, sent=stdin, env=self.env(env), cwd=cwd or self.home, limit_s=LIMIT_S
        )

    def inside(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Call the console script's function in this process, which is quicker than a process of
        its own.
        """
        out, err = io.BytesIO(), io.BytesIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd or self.home):
            for name, value in {"DSLOCAL_HOME": str(self.home), **(env or {})}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["dslocal", *map(str, args)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, write_through=True))
            with pytest.raises(SystemExit) as left:
                main()
            code = left.value.code
            return Done(
                list(map(str, args)),
                code if isinstance(code, int) else -1,
                out.getvalue(),
                err.getvalue(),
            )

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return clean_environment() | {"DSLOCAL_HOME": str(self.home)} | dict(more or {})


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what changes what dslocal does or how it looks."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DSLOCAL_") and name not in CHANGES_OUTPUT
    }


def python(
    program: str, *args: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a fresh interpreter of this environment."""
    command = [
        sys.executable,
        "-P",
        "-c",
        program,
        *args,
    ]  # -P: not the checkout, should it be the current folder
    environment = clean_environment() | dict(env or {})
    return run_to_end(command, sent="", env=environment, limit_s=LIMIT_S)
