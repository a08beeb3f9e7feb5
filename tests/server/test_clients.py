"""Proves that openai's own client works unchanged; the heavier ones are run by
``tests/server/clients/run.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.cli.running import clean_environment
from support.server.serving import Serving

SCRIPT = Path(__file__).parent / "clients" / "with_openai.py"


def test_openai(served: Serving) -> None:
    command = [sys.executable, "-P", str(SCRIPT), f"http://127.0.0.1:{served.port}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(said) == {"sync", "stream", "async", "tool", "structured", "fim", "error"}
