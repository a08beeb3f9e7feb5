"""The scripts of ``tests/server/clients``, each of which asks a server with one client library."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .serving import Serving

TIMEOUT_S = 900  # schemathesis sends 650 requests
CLIENTS = Path(__file__).parents[2] / "server" / "clients"


def run_script(script: Path, python: str, server: Serving) -> subprocess.CompletedProcess[str]:
    """Run one script against ``server``."""
    interpreter = "bash" if script.suffix == ".sh" else python
    command = [interpreter, str(script), f"http://127.0.0.1:{server.port}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def scripts() -> list[Path]:
    """Return all scripts."""
    return [*sorted(CLIENTS.glob("with_*.py")), CLIENTS / "with_curl.sh"]
