"""Print what conversions need, what they wrote, and how far one had come when it was stopped."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dslocal.errors import ConversionError, ExitCode
from dslocal.terminal.sanitise import one_line, sanitise_line

if TYPE_CHECKING:
    from dslocal.api.progress import Phase
    from dslocal.api.quantization.auto_imatrix import MeasuredPlan
    from dslocal.convert import (
        ConversionPlan,
        ConversionProgress,
        ConversionReport,
        TensorClassRmse,
    )
    from dslocal.hub.fetch import DownloadProgress
    from dslocal.terminal.progress import ProgressDisplay


FIRST_LAYER = "blk.0."  # what the names of its tensors begin with; a draft model has none


class RememberedProgress:
    """Passes progress on to a display, and remembers it."""

    def __init__(self, shown: ProgressDisplay) -> None:
        """Take the display."""
        self._shown = shown
        self.phase = ""
        self.share = 0.0

    def on_fetch(self, state: DownloadProgress) -> None:
        """Pass on how much is fetched."""
        self._shown.on_fetch(state)

    def on_conversion(self, state: ConversionProgress) -> None:
        """Pass on and remember how far it is."""
        self.share = state.done / max(state.total, 1)
        self._shown.on_conversion(state)

    def on_evaluation(self, done: int, total: int) -> None:
        """Pass on and remember how much of a text is evaluated."""
        self.share = done / max(total, 1)
        self._shown.on_evaluation(done, total)

    def begin_phase(self, phase: Phase) -> None:
        """Pass on and remember which step begins."""
        self.phase, self.share = f" of step {phase.number} of {phase.count}", 0.0
        self._shown.begin_phase(phase)

    def log(self, line: str) -> None:
        """Pass on a line."""
        self._shown.log(line)


@contextmanager
def stoppable(shown: ProgressDisplay) -> Iterator[RememberedProgress]:
    """Yield the progress of work; if Ctrl-C stops the work, print how far it had come.

    Raises:
        typer.Exit: Ctrl-C.
    """
    progress = RememberedProgress(shown)
    try:
        yield progress
    except KeyboardInterrupt:
        shown.log(
            f"dslocal: stopped at {progress.share:.0%}{progress.phase}; repeat the command to "
            "continue"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


@dataclass(frozen=True)
class Needs:
    """What a conversion would take.

    Attributes:
        plan: The conversion.
        targets: Its outputs.
        download: Bytes to fetch; 0 for a source on this machine.
        streamed: Bytes of disk that it needs if the source is streamed.
        measured: The plan with an importance matrix that is made first; None without.
    """

    plan: ConversionPlan
    targets: Sequence[Path]
    download: int = 0
    streamed: int = 0
    measured: MeasuredPlan | None = None

    @property
    def sizes(self) -> dict[Path, int]:
        """Return the bytes of each output."""
        return {
            target: sum(file.data_size for file in output.files)
            for target, output in zip(self.targets, self.plan.outputs, strict=True)
        }

    @property
    def disk(self) -> int:
        """Return the most bytes that are on the disk at a time."""
        written = self.measured.disk if self.measured else sum(self.sizes.values())
        return written + self.download

    @property
    def phases(self) -> list[tuple[str, str, int]]:
        """Return the name of each step, what it does, and the bytes that it writes."""
        if self.measured is None:
            return []
        sizes = self.measured.nbytes
        return [(phase.name, phase.doing, sizes[phase.name]) for phase in self.measured.phases]


def print_needs(needs: Needs, *, as_json: bool) -> None:
    """Print what a conversion would take."""
    from dslocal.files import decimal_size

    if as_json:
        fields: dict[str, Any] = {
            "outputs": [{"path": str(path), "bytes": size} for path, size in needs.sizes.items()],
            "download": needs.download,
            "disk": needs.disk,
            "disk_streamed": needs.streamed if needs.download else None,
        }
        if needs.measured:
            fields["phases"] = [
                {"phase": name, "bytes": nbytes} for name, _, nbytes in needs.phases
            ]
        print(json.dumps(fields))
        return
    if needs.download:
        print(
            f"download: {decimal_size(needs.download)}; disk: {decimal_size(needs.disk)}, "
            f"with --stream {decimal_size(needs.streamed)}"
        )
    for number, (_, doing, nbytes) in enumerate(needs.phases, 1):
        print(f"{number}/{len(needs.phases)} {doing.rstrip(':')}: writes {decimal_size(nbytes)}")
    if needs.measured:
        print(f"disk: {decimal_size(needs.disk)} at most")
    for path, size in needs.sizes.items():
        print(f"{sanitise_line(path)}: {decimal_size(size)}")


def verified(
    plan: ConversionPlan, targets: Sequence[Path], jobs: int | None, *, as_json: bool
) -> list[TensorClassRmse]:
    """Return how far outputs are from their source, by tensor class."""
    import dslocal.convert as converter
    from dslocal.terminal.progress import show_progress

    with show_progress(
        targets[0].name, as_json=as_json, doing="verifying", done="verified"
    ) as shown:
        return converter.verify(plan, targets, jobs=jobs, on_progress=shown.on_conversion)


def load_each(files: Sequence[Path]) -> None:
    """Load every file once. Raises EngineError where llama.cpp refuses one."""
    from dslocal.cli.session_setup import load_model

    for file in files:
        load_model(file).close()


def print_results(
    reports: Sequence[ConversionReport],
    errors: Sequence[TensorClassRmse] | None,
    *,
    as_json: bool,
) -> None:
    """Print what was written and, where it was verified, the errors.

    Raises:
        ConversionError: An error is larger than quantization explains.
    """
    if as_json:
        fields: dict[str, Any] = {"outputs": [_report_json(report) for report in reports]}
        if errors is not None:
            fields["verified"] = [dataclasses.asdict(error) for error in errors]
        print(json.dumps(fields))
    else:
        _print_reports(reports, errors or ())
    for error in errors or ():
        if not error.is_within_tolerance:
            raise ConversionError(
                f"{error.recipe}: {error.tensor_class}: relative error {error.measured:.4f}, "
                f"{error.expected:.4f} is expected"
            )


def is_whole_model(file: Path) -> bool:
    """Return whether a GGUF file is a model by itself, and not a draft model alone."""
    from dslocal.gguf.parts import read_parts

    return any(tensor.name.startswith(FIRST_LAYER) for tensor in read_parts(file)[1].tensors)


def print_next_step(model: Path) -> None:
    """Print how a model that was written is used; on a terminal only."""
    if sys.stderr.isatty():
        command = f"dslocal chat {shlex.quote(str(model))}"
        print(f"{one_line(command)} talks with it", file=sys.stderr)


def _print_reports(reports: Sequence[ConversionReport], errors: Sequence[TensorClassRmse]) -> None:
    for report in reports:
        files = f" in {report.files} files" if report.files > 1 else ""
        bits = report.nbytes * 8 / report.weights
        print(
            f"{sanitise_line(report.path)}: {report.recipe}, {report.nbytes / 1e6:,.1f} MB{files}, "
            f"{report.tensors} tensors, {bits:.2f} bits/weight, {report.seconds:.1f} s"
        )
    if errors:
        print(
            "relative RMSE by tensor class, and the expected RMSE of its types on random weights "
            "with as many outliers; up to twice the expected is ok:"
        )
    for error in errors:
        verdict = "ok" if error.is_within_tolerance else "WRONG"
        print(
            f"{error.recipe:<10} {error.tensor_class:<20} RMSE {error.measured:.5f}, "
            f"expected {error.expected:.5f}  {verdict}"
        )


def print_bits(plan: ConversionPlan) -> None:
    """Print what a size buys: bits per weight by tensor class."""
    from dslocal.gguf.tensor_names import tensor_class

    weights: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for layout in plan.layouts:
        for placed in layout.tensors:
            name = tensor_class(placed.tensor.name)
            weights[name] += placed.tensor.elements
            nbytes[name] += placed.nbytes
            types[name][placed.kind.name] += 1
    for name, total in nbytes.most_common():
        mixture = ", ".join(f"{kind} × {n}" for kind, n in types[name].most_common())
        bits = total * 8 / weights[name]
        print(f"{name:<20} {total / 1e6:12,.1f} MB  {bits:5.2f} bits/weight  {mixture}")


def _report_json(report: ConversionReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "files": report.files,
        "bytes": report.nbytes,
        "tensors": report.tensors,
        "weights": report.weights,
        "quant": report.recipe,
        "seconds": round(report.seconds, 3),
        "resumed_bytes": report.resumed,
    }
