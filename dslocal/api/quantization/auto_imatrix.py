"""``--imatrix auto``: make an importance matrix before the quantizations that need it.

If there is no suitable GGUF file of the model, one is made first, in Q8_0 or V4's own MXFP4. The
model evaluates the calibration text, which gives the matrix. The intermediate files are beside the
output, so that the same call continues an interrupted run, with the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import __version__
from dslocal.api.model_file import read_family
from dslocal.api.progress import Phase, WorkProgress
from dslocal.errors import ConversionError, UsageError
from dslocal.evaluation.calibration import CALIBRATION
from dslocal.files import decimal_size

from . import importance
from .auto_files import AutoImatrix
from .importance import ImatrixJob, ImatrixReport

if TYPE_CHECKING:
    from dslocal.convert import Checkpoint, ConversionPlan, Imatrix

MAX_SHOWN_EXPERTS = 12  # of a layer, in a line
GOOD_QUANTS = ("BF16", "F16", "F32", "Q8_0", "MXFP4")  # good enough to be measured
Planner = Callable[["Imatrix"], "ConversionPlan"]


def identity_of(checkpoint: Checkpoint) -> str:
    """Return a hash that changes with the source, the calibration text and dslocal's version."""
    seen = hashlib.sha256(f"{__version__}\0{CALIBRATION.title}".encode())
    for shard in checkpoint.shards:
        seen.update(f"\0{shard}\0{checkpoint.source.identity(shard)}".encode())
    return seen.hexdigest()


@dataclass(frozen=True)
class MeasuredPlan:
    """A plan that needs an importance matrix first, and the plan for making it.

    Attributes:
        auto: The intermediate files.
        known: A good GGUF file of the model, if one is here.
        intermediate: The conversion that makes one, if none is here.
        plan: Lays out the outputs, given the matrix.
        expected: A stand-in for the matrix, which covers the tensors that it will cover.
        identity: Changes when the source does.
        is_source: Whether the outputs are made from the intermediate model.
    """

    auto: AutoImatrix
    known: Path | None
    intermediate: ConversionPlan | None
    plan: Planner
    expected: Imatrix
    identity: str
    is_source: bool = False

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Return the phases in their order."""
        steps = [
            ("imatrix", "measuring", "measured"),
            ("quantize", "quantizing", "quantized"),
        ]
        if self.intermediate is not None:
            recipe = self.intermediate.outputs[0].recipe.name
            steps.insert(0, ("model", f"converting to {recipe}:", f"converted to {recipe}:"))
        return tuple(
            Phase(name, number, len(steps), doing, done)
            for number, (name, doing, done) in enumerate(steps, 1)
        )

    @functools.cached_property
    def nbytes(self) -> dict[str, int]:
        """Return the bytes that each phase writes."""
        matrix = sum(4 * len(entry) for entry in self.expected.entries.values())
        found = {"model": _data_bytes(self.intermediate)} if self.intermediate else {}
        outputs = _data_bytes(self.plan(self.expected))
        return {**found, "imatrix": matrix, "quantize": outputs}

    @property
    def disk(self) -> int:
        """Return the most bytes that are on the disk at a time."""
        sizes = self.nbytes
        model = sizes.get("model", 0)
        if self.is_source or self.auto.keep:
            return model + sizes["imatrix"] + sizes["quantize"]
        if self.auto.matrix.exists():
            model = 0
        return sizes["imatrix"] + max(model, sizes["quantize"])

    def carry_out(self, progress: WorkProgress, jobs: int | None) -> ConversionPlan:
        """Make the model and the matrix if they are missing, and return the plan.

        Raises:
            ConversionError: The disk is too small.
            DoesNotFitError: The model that is measured does not fit into this machine.
        """
        auto = self.auto
        auto.begin(self.identity)
        self._require_room()
        measuring, quantizing = self.phases[-2:]
        if not auto.matrix.exists():
            model = self.known or self._made_model(progress, jobs)
            progress.begin_phase(measuring)
            _log_report(_measure(auto, model, progress), progress)
        if not (auto.keep or self.is_source):
            auto.remove_model()
        import dslocal.convert as converter

        planned = self.plan(replace(converter.load_imatrix(auto.matrix), file=auto.matrix.name))
        auto.begin_writing()
        progress.begin_phase(quantizing)
        return planned

    def _made_model(self, progress: WorkProgress, jobs: int | None) -> Path:
        import dslocal.convert as converter

        if self.intermediate is not None and not self.auto.model.exists():
            progress.begin_phase(self.phases[0])
            converter.write_gguf(
                self.intermediate, [self.auto.model], jobs=jobs, on_progress=progress.on_conversion
            )
        return self.auto.model

    def _require_room(self) -> None:
        folder = self.auto.target.parent
        own = (self.auto.model.name, self.auto.matrix.name, f"{self.auto.target.stem}.gguf.part")
        written = sum(
            file.stat().st_blocks * 512
            for file in folder.iterdir()
            if file.name.startswith(own) and file.is_file()
        )
        free = shutil.disk_usage(folder).free
        needed = max(0, self.disk - written)
        if needed > free:
            raise ConversionError(
                f"{folder}: all steps need {decimal_size(needed)}, and only "
                f"{decimal_size(free)} are free",
                hint="free some space, or use another -o; --imatrix FILE needs space only for the "
                "outputs",
            )


def require_no_draft_model(mtp: str) -> None:
    """Raise UsageError if a draft model alone is written: it cannot evaluate a text."""
    if mtp in ("only", "dspark-only"):
        raise UsageError(
            "--imatrix auto: a draft model cannot evaluate a text without its model",
            hint="leave out --imatrix auto",
        )


def _measure(auto: AutoImatrix, model: Path, progress: WorkProgress) -> ImatrixReport:
    header, family = read_family(model)
    job = ImatrixJob(model, header, family, auto.matrix, resume=True)
    return importance.make_imatrix(job, auto.load, progress.on_evaluation)


def _log_report(report: ImatrixReport, progress: WorkProgress) -> None:
    for line in unseen_lines(report):
        progress.log(f"dslocal: {line}")


def unseen_lines(report: ImatrixReport) -> Iterator[str]:
    """Yield lines about experts that no token reached, and matrices that were not measured."""
    for layer, experts in report.unseen_experts.items():
        shown = ", ".join(map(str, experts[:MAX_SHOWN_EXPERTS]))
        more = len(experts) - MAX_SHOWN_EXPERTS
        rest = f" and {more} more" if more > 0 else ""
        plural = "s" if len(experts) > 1 else ""
        yield f"layer {layer}: expert{plural} {shown}{rest} saw no token"
    if report.unseen_experts:
        yield (
            "experts that saw no token are quantized as if all their weights mattered equally; "
            "evaluate more text (dslocal imatrix --text, --merge) to reach more of them"
        )
    if report.unmeasured:
        yield (
            f"{len(report.unmeasured)} matrices were not measured, such as "
            f"{report.unmeasured[0]}: they are quantized without importance"
        )


def _data_bytes(plan: ConversionPlan) -> int:
    return sum(layout.data_size for layout in plan.layouts)
