"""Read the output of an earlier ``dslocal bench --json``, to compare with it.

Nothing in the file is used before it is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dslocal.errors import DslocalError, NotFoundError
from dslocal.files import read_json_object
from dslocal.terminal.reports.bench_report import BenchFigure, FigureKey

MAX_BYTES = 4 << 20
MAX_FIGURE = 1e18
HINT = "--compare takes the output of dslocal bench --json"


def read_earlier(path: Path, model: str) -> dict[FigureKey, float]:
    """Return the medians in the file at ``path``, by what was measured.

    Args:
        path: The file.
        model: The fingerprint of the model that is measured now.

    Raises:
        NotFoundError: The file does not exist.
        DslocalError: It is damaged, or of another model.
    """
    content = _read_json(path)
    about = content.get("model")
    figures = content.get("figures")
    if (
        not isinstance(about, dict)
        or not isinstance(figures, list)
        or not isinstance(about.get("fingerprint"), str)
    ):
        raise DslocalError(f"{path.name} is not the output of dslocal bench --json", hint=HINT)
    if about["fingerprint"] != model:
        other = f"{about.get('name')!r:.60} in {about.get('quant')!r:.20}"
        raise DslocalError(f"{path.name} is of another model, {other}", hint=HINT)
    found = dict(_read_figure(entry, path) for entry in figures)
    if len(found) < len(figures):
        raise DslocalError(f"{path.name} has the same figure twice", hint=HINT)
    return found


def ratios(
    figures: Sequence[BenchFigure], earlier: dict[FigureKey, float]
) -> dict[FigureKey, float]:
    """Return new over old, for all that both have."""
    return {
        figure.key: median(figure.runs) / earlier[figure.key]
        for figure in figures
        if figure.key in earlier
    }


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where the file has something else."""
    try:
        return read_json_object(path, max_bytes=MAX_BYTES)
    except FileNotFoundError as e:
        raise NotFoundError(f"{path}: no such file", hint=HINT) from e
    except OSError as e:
        raise DslocalError(f"{path}: cannot be read: {e.strerror}") from e
    except ValueError:
        return {}


def _read_figure(entry: Any, path: Path) -> tuple[FigureKey, float]:
    match entry:
        case {"what": str(what), "median": int(value) | float(value)} if (
            not isinstance(value, bool) and 0 < value < MAX_FIGURE
        ):
            size = entry.get("size", 0)
            mtp = entry.get("mtp", "")
            if isinstance(mtp, str) and isinstance(size, int) and not isinstance(size, bool):
                return (what, size, mtp), float(value)
    raise DslocalError(f"{path.name} has an entry that is not a measurement", hint=HINT)
