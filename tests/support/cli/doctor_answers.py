"""Ask ``dslocal doctor`` for JSON."""

from __future__ import annotations

import json
from typing import Any

from support.cli.running import Run


def asked(run: Run, **more: Any) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", **more)
    assert (done.stderr, done.stdout.count(b"\n")) == (b"", 1), done.stderr
    return done.returncode, json.loads(done.stdout)
