"""An earlier ``dslocal bench --json``, to compare with: anybody's file, so nothing in it is
believed before it is checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dslocal.errors import DslocalError, NotFoundError
from dslocal.terminal.reports.bench_report import BenchFigure, FigureKey

MOST_BYTES = 4 << 20
HINT = "--compare takes what dslocal bench --json wrote"


def read_earlier(path: Path, model: str) -> dict[FigureKey, float]:
    """The medians in the file at ``path``, by what was measured. Raises NotFoundError, DslocalError
    when it is damaged or not of ``model``.

    ``model`` is a fingerprint.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        content = json.loads(data) if len(data) <= MOST_BYTES else None
    except FileNotFoundError as e:
        raise NotFoundError(f"{path}: no such file", hint=HINT) from e
    except OSError as e:
        raise DslocalError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError):
        content = None
    about = content.get("model") if isinstance(content, dict) else None
    figures = content.get("figures") if isinstance(content, dict) else None
    if (
        not isinstance(about, dict)
        or not isinstance(figures, list)
        or not isinstance(about.get("fingerprint"), str)
    ):
        raise DslocalError(f"{path.name} is no result of dslocal bench", hint=HINT)
    if about["fingerprint"] != model:
        raise DslocalError(
            f"{path.name} is of another model, {about.get('name')!r:.60} in {about.get('quant')!r:.20}",
            hint=HINT,
        )
    found = dict(_figure(entry, path) for entry in figures)
    if len(found) < len(figures):
        raise DslocalError(f"{path.name} has the same figure twice", hint=HINT)
    return found


def ratios(
    figures: Sequence[BenchFigure], earlier: dict[FigureKey, float]
) -> dict[FigureKey, float]:
    """New over old, for all that both have."""
    return {
        figure.key: median(figure.runs) / earlier[figure.key]
        for figure in figures
        if figure.key in earlier
    }


def _figure(entry: Any, path: Path) -> tuple[FigureKey, float]:
    match entry:
        case {"what": str(what), "median": int(value) | float(value)} if (
            not isinstance(value, bool) and 0 < value < 1e18
        ):
            size, mtp = entry.get("size", 0), entry.get("mtp", "")
            if isinstance(mtp, str) and isinstance(size, int) and not isinstance(size, bool):
                return (what, size, mtp), float(value)
    raise DslocalError(f"{path.name} has a figure that is none", hint=HINT)
