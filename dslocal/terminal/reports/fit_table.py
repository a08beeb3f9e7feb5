"""The table of models that ``dslocal fit`` shows, and the one that it recommends.

What runs well stands last: on a small terminal, that is what stays on the screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dslocal.plan.assessment import Assessment
from dslocal.plan.choice import FROM_MEMORY, is_fast_enough
from dslocal.plan.machine.machine import Machine
from dslocal.plan.placement_words import placement_words
from dslocal.terminal.sanitise import one_line

from .fit_report import context_size, machine_line, memory_bytes
from .plain_console import plain_console
from .speed_text import recommendation_text, short_number

if TYPE_CHECKING:
    from dslocal.api.planning.recommendation import RecommendedModel

MAX_NAME = 31  # characters
ROW = "{:<2}{:<31} {} {:>4} {:>5} {:>7} {:>5}"
CONVERTED = " c"
RUNS_WELL = "runs well here"
PIPED_COLUMNS, PIPED_ROWS = 80, 24  # of the screen that a table in a pipe would fit on
PROMPT_ROWS = 2  # of a screen: the command, and the next prompt
LEGEND = (
    "memory in GiB, fetch and disk in GB; t/s: tokens a second, a forecast"
    f"\n{CONVERTED.strip()}: a checkpoint, converted here. dslocal fit MODEL plans one"
)


def _load_columns(quant: str, runs_on: str, memory: str) -> str:
    """Return three columns in 21 characters: a long name takes the room of its neighbours."""
    names = f"{quant:<6} {runs_on}"
    return f"{names} {memory:>{20 - len(names)}}"


HEADER = ROW.format(
    "", "model", _load_columns("quant", "runs on", "memory"), "ctx", "t/s", "fetch", "disk"
)


def rows_for_a_screen(
    rows: Sequence[Assessment],
    machine: Machine,
    best: RecommendedModel | None,
    enough: float,
    preferred: Sequence[str],
) -> list[Assessment]:
    """Return the rows with which the table fits on a screen, in their order.

    The model to take is there, and of each group the best; then come those that run well, the
    preferred ones first and larger ones before smaller ones, and then the fastest of the others.

    Args:
        rows: the models, from small to large.
        machine: the machine.
        best: the model to take.
        enough: tokens a second that are fast enough.
        preferred: names of models that are preferred, in their order.
    """
    console = plain_console()
    width = min(console.width, PIPED_COLUMNS) if not console.is_terminal else console.width
    texts = [machine_line(machine), *(f"note: {note}" for note in machine.notes), HEADER]
    texts += [*LEGEND.split("\n"), *_recommendation(best, enough)]
    taken = sum(len(Text(text).wrap(console, width)) for text in texts)
    groups = [_by_value(group, title, preferred) for title, _, group in _groups(rows, enough)]
    groups.reverse()  # what runs well comes first
    room = (console.height if console.is_terminal else PIPED_ROWS) - PROMPT_ROWS
    room -= taken + len(groups)
    firsts = [group[0] for group in groups]
    others = [row for group in groups for row in group[1:]]
    chosen = {row.model.name for row in [*firsts, *others][: max(room, len(firsts))]}
    return [row for row in rows if row.model.name in chosen]


def _by_value(
    group: Sequence[Assessment], title: str, preferred: Sequence[str]
) -> list[Assessment]:
    """Return a group's rows, those first that most people would take."""
    if title != RUNS_WELL:
        return sorted(
            group, key=lambda row: (row.model.name not in preferred[:1], -row.speed.middle)
        )
    places = {name: place for place, name in enumerate(preferred)}
    larger_first = reversed(group)
    return sorted(larger_first, key=lambda row: places.get(row.model.name, len(places)))


def print_table(
    rows: Sequence[Assessment],
    machine: Machine,
    best: RecommendedModel | None,
    enough: float,
    *,
    hidden: int = 0,
) -> None:
    """Print the machine, the models in groups, and which of them to take.

    Args:
        rows: the models.
        machine: the machine.
        best: the model to take.
        enough: tokens a second that are fast enough.
        hidden: how many models are not among the rows.
    """
    console = plain_console()
    console.print(Text(machine_line(machine)))
    for note in machine.notes:
        console.print(Text(f"note: {note}", style="dim"))
    console.print(Text(HEADER, style="bold"))
    name = best.name if best else ""
    for title, style, group in _groups(rows, enough):
        console.print(Text(title, style=f"bold {style}"))
        for row in group:
            console.print(Text(_line(row, marked=row.model.name == name), style=style))
    more = f"; {hidden} more: --all" if hidden else ""
    console.print(Text(LEGEND + more, style="dim"))
    for line in _recommendation(best, enough):
        console.print(Text(line))


def _groups(
    rows: Sequence[Assessment], enough: float
) -> Iterator[tuple[str, str, list[Assessment]]]:
    """Yield the title, the style and the rows of each group that has any."""
    well = [row for row in rows if is_fast_enough(row, enough)]
    slow = [row for row in rows if row.plan.verdict in FROM_MEMORY and row not in well]
    groups = (
        ("cannot run here", "dim", [row for row in rows if row.plan.verdict == "no"]),
        ("from the SSD", "yellow", [row for row in rows if row.plan.verdict == "ssd"]),
        (f"slow: less than {enough:g} tokens a second", "yellow", slow),
        (RUNS_WELL, "green", well),
    )
    return ((title, style, group) for title, style, group in groups if group)


def _line(found: Assessment, *, marked: bool) -> str:
    plan, model = found.plan, found.model
    runs = plan.verdict != "no"
    is_here = not model.download
    converted = CONVERTED if model.method == "converted" and not is_here else ""
    return ROW.format(
        "→" if marked else "",
        one_line(model.name, MAX_NAME),
        _load_columns(
            model.quant,
            placement_words(plan.verdict, short=True),
            short_number(memory_bytes(plan) / 2**30),
        ),
        context_size(plan.load_config.n_ctx) if runs else "",
        short_number(found.speed.middle) if runs else "",
        "here" if is_here else _fetch(model.download, model.method) + converted,
        short_number(model.disk / 1e9),
    ).rstrip()


def _fetch(nbytes: int, method: str) -> str:
    """Return the GB to fetch; a dash for what cannot be had."""
    return short_number(nbytes / 1e9) if method else "–"


def _recommendation(best: RecommendedModel | None, enough: float) -> Iterator[str]:
    """Yield the lines that say which model to take."""
    if best is None:
        yield "None of the models that dslocal recommends fits here; nano, which ships, does."
        return
    yield f"Take this one: {best.name} {recommendation_text(best)}"
    if not best.is_fast:
        yield f"No model reaches {enough:g} tokens a second here; this one is the fastest."
    yield f"  {best.command}"
