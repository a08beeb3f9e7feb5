"""Ctrl-C in the middle of a long prefill, through the real ``dslocal chat``: ``python
tests/benchmarks/interrupt.py FILE [TIMES]``.

FILE is a model of a gigabyte or more, made by v3_vocabulary.py when it is not there. Each time a
text of 8,000 tokens is attached to a question, and Ctrl-C comes while it is read, every time later;
what counts is the time from the key to the prompt. Then a short question must be answered. Fails
when a prompt took longer than 200 ms. Run it on a machine that is quiet.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.cli.running import BINARY, clean_environment
from support.terminal.screen import READY, Screen
from v3_vocabulary import write_v3_vocabulary

LIMIT_S = 0.2
TOKENS = 8000
FIRST_S = 0.8
STEP_S = 0.37
ENTER = "\r"
CTRL_C = "\x03"
CTRL_D = "\x04"


def main() -> int:
    model = write_v3_vocabulary(Path(sys.argv[1])).resolve()
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    with tempfile.TemporaryDirectory() as home:
        text = Path(home) / "text.txt"
        environment = clean_environment() | {"DSLOCAL_HOME": home}
        with Screen([str(BINARY), "chat", str(model), "--ctx", "12288"], environment) as screen:
            screen.wait_for(READY)
            seconds = []
            for number in range(times):
                letters = random.Random(number).choices("bcdfghjkmpqvwxz ", k=TOKENS)
                text.write_text("".join(letters))
                screen.press(f"/file {text}{ENTER}")
                screen.wait_for(READY)
                seconds.append(interrupted(screen, f"question {number}", FIRST_S + number * STEP_S))
                print(f"{seconds[-1] * 1e3:4.0f} ms")
            screen.press("a" + ENTER)
            screen.wait_for("word")  # the model's answer
            screen.press(CTRL_C)
            began = time.monotonic()
            screen.wait_for("interrupted")
            screen.wait_for(READY)
            print(
                f"then a short question is answered, and the answer stopped in"
                f" {(time.monotonic() - began) * 1e3:.0f} ms"
            )
            screen.press(CTRL_D)
            code = screen.leave()
    print(
        f"{model.stat().st_size / 1e9:.1f} GB: median {median(seconds) * 1e3:.0f} ms, at most"
        f" {max(seconds) * 1e3:.0f}; exit code {code}"
    )
    print(f"load {os.getloadavg()[0]:.1f}")
    good = max(seconds) <= LIMIT_S and code == 0
    print("as wanted" if good else "FAILED")
    return int(not good)


def interrupted(screen: Screen, question: str, after: float) -> float:
    """Seconds from Ctrl-C, ``after`` so many of reading, to the prompt."""
    screen.press(question + ENTER)
    screen.wait_for("reading ")
    time.sleep(after)
    screen.press(CTRL_C)
    began = time.monotonic()
    shown = screen.wait_for(READY)
    took = time.monotonic() - began
    assert "interrupted" in shown, shown
    return took


if __name__ == "__main__":
    sys.exit(main())
