"""Run every program of ``examples/`` and prove that it prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli.running import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT_S = 120
PRINTS = {
    "ask.py": ("4042", "final answer: 4042"),
    "chat.py": ("Lima", "Tokyo", "taken back: And of Japan?", "2 messages are left"),
    "convert.py": ("nano-Q8_0.gguf:", "nano-Q4_K_M.gguf:", "144"),
    "files.py": ("port is 8080",),
    "fill_in_the_middle.py": ("width * height",),
    "plan.py": ("deepseek-r1 Q4_K_M:", "deepseek-r1 Q2_K:", "tokens/s"),
    "save_and_resume.py": ("user: What is the capital of Peru?", "Tokyo"),
    "stream.py": ("144", "[stop,"),
    "structured.py": ("4043",),
    "tools.py": ("call weather with {'city': 'Lima'}", "finish reason: tool_calls"),
}


def test_every_example_is_run_and_listed() -> None:
    files = {path.name for path in EXAMPLES.glob("*.py")}
    assert files == set(PRINTS)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in listed for name in files)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example(run: Run, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLES / name)],
        env={**os.environ, **run.env()},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for expected in PRINTS[name]:
        assert expected in done.stdout
