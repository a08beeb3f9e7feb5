"""Call ``dslocal.quality`` and take down what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.checkpoints.tiny_models import CHUNK

import dslocal
from dslocal.evaluation.divergence.figures import QualityFigures
from dslocal.home.paths import quality_dir

CHUNKS = 32


@dataclass
class QualityCall:
    """Calls dslocal.quality, and takes down what it reports."""

    text: Path
    chunks: list[tuple[str, int, int]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __call__(
        self,
        model: Path,
        reference: Path,
        *,
        stop_at: tuple[str, int] | None = None,
        **more: Any,
    ) -> QualityFigures:
        self.chunks.clear()
        self.notices.clear()

        def on_progress(what: str, done: int, of: int) -> None:
            self.chunks.append((what.partition(" ")[0], done, of))
            if stop_at and what.startswith(stop_at[0]) and done == stop_at[1]:
                raise KeyboardInterrupt

        arguments: dict[str, Any] = {"text": [self.text], "n_ctx": CHUNK, **more}
        return dslocal.quality(
            model,
            reference=reference,
            on_progress=on_progress,
            on_notice=self.notices.append,
            **arguments,
        ).figures

    @property
    def evaluated(self) -> dict[str, int]:
        """How many chunks the reference and the model have evaluated."""
        counted = {"reference": 0, "model": 0}
        for what, *_ in self.chunks:
            counted["reference" if what == "reference" else "model"] += 1
        return counted


def kept(suffix: str) -> Path:
    (found,) = quality_dir().glob(f"*{suffix}")
    return found
