"""What showing an answer costs: the time of a frame along 32k tokens, the longest blocks there are,
and the share of a core.

    python tests/benchmarks/render.py [--tokens 32768] [--rate 200] [--real SECONDS]

Replays Markdown through AnswerView into a terminal that throws everything away, a clock of our own
telling it that tokens come at ``--rate`` a second. One frame is all that happens between two
drawings: feeding the tokens, laying out, writing. A token is four characters. ``--real`` replays by
the real clock for so long and takes the process's CPU time; the interpreter's garbage collection is
part of all figures. The peer is Rich's Markdown over the whole answer so far, which is what a frame
costs without committed lines.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.markdown import Markdown

from dslocal.terminal.chat import answer_view
from dslocal.terminal.chat.answer_view import AnswerView

DOCUMENTS = Path(__file__).parents[1] / "terminal" / "documents.txt"
TOKEN = 4  # characters


def answer(length: int) -> str:
    """The recorded documents one after the other, again and again; a fence that is open would
    swallow the rest, so it is closed.
    """
    parts = [part.partition("\n")[2] for part in DOCUMENTS.read_text("utf-8").split("%% ")[1:]]
    whole = (
        "\n\n".join(part + ("\n```\n" if part.count("```") % 2 else "") for part in parts) + "\n\n"
    )
    return (whole * (length // len(whole) + 1))[:length]


SHAPES: dict[str, Callable[[int], str]] = {
    "mixed answer": answer,
    "one fence": lambda n: ("```python\n" + "value = compute(x, y)  # and a comment\n" * (n // 38))[
        :n
    ],
    "one list": lambda n: ("- an item with **bold** and `code` in it\n" * (n // 40 + 1))[:n],
    "one paragraph": lambda n: (
        "words in a paragraph that **never** ends, with `code` and so on " * (n // 64 + 1)
    )[:n],
    "one table": lambda n: (
        "| a | b |\n|---|---|\n" + "| some words here | and **others** there |\n" * (n // 40)
    )[:n],
    "no spaces": lambda n: ("没有空格也没有标点的很长很长的一段话" * (n // 18 + 1))[:n],
}


class Sink(io.StringIO):
    """A terminal's other end."""

    def write(self, text: str, /) -> int:
        return len(text)

    def isatty(self) -> bool:
        return True


def console() -> Console:
    return Console(
        file=Sink(), force_terminal=True, color_system="256", width=100, height=40, highlight=False
    )


def tokens(text: str) -> Iterator[str]:
    yield from (text[at : at + TOKEN] for at in range(0, len(text), TOKEN))


def frames(text: str, rate: float) -> list[float]:
    """Seconds that each frame took: a frame's worth of tokens fed, laid out and drawn."""
    clock = [0.0]
    took: list[float] = []
    batch = max(round(rate * answer_view.FRAME_S), 1)
    with (
        mock.patch.object(answer_view, "time", mock.Mock(monotonic=lambda: clock[0])),
        AnswerView(console()) as view,
    ):
        pending = list(tokens(text))
        for at in range(0, len(pending), batch):
            began = time.perf_counter()
            for token in pending[at : at + batch]:
                clock[0] += 1 / rate
                view.add_answer(token)
            took.append(time.perf_counter() - began)
    return took


def whole(text: str) -> float:
    """Seconds of drawing all of ``text`` with Rich."""
    began = time.perf_counter()
    console().print(Markdown(text))
    return time.perf_counter() - began


def real(text: str, rate: float, seconds: float) -> float:
    """The share of a core that showing takes, by the real clock."""
    pending = list(tokens(text))[: int(rate * seconds)]
    with AnswerView(console()) as view:
        began, used = time.perf_counter(), time.process_time()
        for number, token in enumerate(pending):
            if (wait := began + number / rate - time.perf_counter()) > 0:
                time.sleep(wait)
            view.add_answer(token)
        return (time.process_time() - used) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--real", type=float, default=0, metavar="SECONDS")
    options = parser.parse_args()
    frames(answer(8000), options.rate)  # imports, caches
    print(
        f"{'ms a frame':<16} {'median':>7} {'first 10 %':>10} {'last 10 %':>10} {'99 %':>7}"
        f" {'worst':>7} {'share':>6}"
    )
    for name, make in SHAPES.items():
        took = frames(make(options.tokens * TOKEN), options.rate)
        tenth = max(len(took) // 10, 1)
        ordered = sorted(took)
        row = (
            statistics.median(took),
            statistics.median(took[:tenth]),
            statistics.median(took[-tenth:]),
            ordered[-len(took) // 100],
            max(took),
        )
        share = sum(took) / (options.tokens / options.rate)
        print(
            f"{name:<16} {row[0] * 1e3:7.2f} {row[1] * 1e3:10.2f} {row[2] * 1e3:10.2f}"
            f" {row[3] * 1e3:7.2f} {row[4] * 1e3:7.2f} {share:6.1%}"
        )
    text = answer(options.tokens * TOKEN)
    print(
        "Rich's Markdown over everything, ms: "
        + ", ".join(f"{whole(text[: len(text) // n]) * 1e3:.0f} at 1/{n}" for n in (32, 8, 1))
    )
    if options.real:
        print(
            f"{real(text, options.rate, options.real):.1%} of a core over {options.real:g} s at"
            f" {options.rate:g} tokens/s"
        )


if __name__ == "__main__":
    main()
