"""``dslocal bench``: measure the speed of a model with the settings of ``ask`` and ``chat``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.option_groups import LoadOptions, NamedModel, PlacementOptions, with_option_groups
from dslocal.cli.options import AsJson, FamilyFlag
from dslocal.cli.token_counts import token_count, token_count_between
from dslocal.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dslocal.cli.measuring.benchmark_run import BenchmarkRun
    from dslocal.cli.session_setup import ModelFile
    from dslocal.plan.search import Plan
    from dslocal.terminal.reports.bench_report import FigureKey

MTP_MODES = {"auto": ("auto",), "on": ("on",), "off": ("off",), "both": ("off", "on")}
MAX_DEPTHS = 32
MAX_TOKENS = 100_000
MAX_REPEATS = 100
MAX_DEPTH = 10**9 - 1
QUIET_S = 1.0  # before a line on a terminal says what is being measured


@with_option_groups
def bench(
    *,
    model: NamedModel,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="Plot decoding speed over depth into this PNG file.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="OLD.json",
            help="Compare with the output of an earlier --json.",
            show_default=False,
        ),
    ] = None,
    depths: Annotated[
        str,
        typer.Option(
            "--depths",
            metavar="N,N",
            help="Depths at which decoding is measured: tokens already in the context.",
        ),
    ] = "0,1024,4096",
    tokens: Annotated[
        int,
        typer.Option(
            "--tokens",
            metavar="N",
            parser=token_count_between(8, MAX_TOKENS),
            help="Decode this many tokens at each depth.",
        ),
    ] = 64,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            metavar="N",
            min=1,
            max=MAX_REPEATS,
            help="Repeat all measurements this many times, loading included.",
        ),
    ] = 3,
    mtp: Annotated[
        str | None,
        typer.Option(
            "--mtp",
            metavar="MODE",
            help="Draft with the MTP layer: auto, on, off or both. [both, where there is one]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of the sampling.")
    ] = 0,
    placement: PlacementOptions,
    family: FamilyFlag = None,
) -> None:
    """Measure how fast a model loads, reads prompts and answers.

    It prints medians and their spread, which grows when other programs run. Ctrl-C ends it and
    prints what was measured until then.
    """
    from dslocal.cli import session_setup
    from dslocal.gguf.header import fingerprint
    from dslocal.terminal.reports import bench_report

    wanted_depths = _parse_depths(depths)
    _check_plot(plot)
    file = session_setup.prepare_model(model.name, family)
    mtp_modes = _mtp_modes(mtp, file)
    identity = fingerprint(file.path)
    earlier = _read_earlier(compare, identity)
    planned = _plan(file, placement, drafts=set(mtp_modes) != {"off"})
    _check_tokens(tokens, wanted_depths, planned)

    from dslocal.cli.measuring.bench_compare import ratios
    from dslocal.cli.measuring.benchmark_run import BenchmarkRun, Workload

    workload = Workload(wanted_depths, tokens, mtp_modes, seed)
    run = BenchmarkRun(file, planned.load_config, workload)
    was_interrupted = _measure(run, repeat)
    run.add_forecasts(planned)
    compared = ratios(run.measured, earlier)
    if as_json:
        fields = _json_fields(run, identity, repeat, interrupted=was_interrupted)
        print(json.dumps({**fields, **(_compared_json(compared) if compare else {})}))
    elif run.measured:
        for line in bench_report.table(run.measured, _heading(run, repeat), compared):
            print(line)
    curves = bench_report.curves(run.measured) if plot else None
    if plot and curves:
        bench_report.save_plot(curves, _title(file), plot)
    if was_interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _measure(run: BenchmarkRun, repeat: int) -> bool:
    """Measure everything ``repeat`` times, and return whether Ctrl-C ended it before."""

    def numbered(report: Callable[[str], None], number: int) -> Callable[[str], None]:
        return lambda what: report(f"{what}, {number} of {repeat}")

    try:
        with _progress(run.file.path.name) as report:
            for number in range(1, repeat + 1):
                run.run_once(numbered(report, number))
    except KeyboardInterrupt:
        return True
    return False


def _plan(file: ModelFile, placement: PlacementOptions, *, drafts: bool) -> Plan:
    """Return how the model is loaded: as ``ask`` would, with an MTP layer where it ``drafts``."""
    from dslocal.cli.load_overrides import load_overrides
    from dslocal.engine import loader

    options = LoadOptions(**asdict(placement), mtp="on" if drafts else "off")
    overrides = load_overrides(file, options)
    return loader.plan_for(file.path, file.header, overrides)


def _check_plot(plot: Path | None) -> None:
    from dslocal.api.arguments.writable import require_writable
    from dslocal.terminal.reports import bench_report

    if plot is None:
        return
    if plot.suffix.lower() != ".png":
        raise UsageError(f"--plot: {plot.name!r:.80} is not a PNG", hint="for example speed.png")
    bench_report.require_plotting()
    require_writable(plot)


def _check_tokens(tokens: int, depths: list[int], planned: Plan) -> None:
    n_ctx = planned.load_config.n_ctx
    if max(depths, default=0) and tokens + 1 >= n_ctx:
        raise UsageError(
            f"--tokens: {tokens:,} do not fit into a context of {n_ctx:,}",
            hint="give fewer, or a larger --ctx",
        )


def _parse_depths(text: str) -> list[int]:
    parts = text.split(",")
    try:
        depths = {token_count(part) for part in parts}
    except typer.BadParameter:
        depths = {-1}
    if len(parts) > MAX_DEPTHS or min(depths) < 0 or max(depths) > MAX_DEPTH:
        raise UsageError(
            f"--depths: {text!r:.60} is not a list of numbers of tokens",
            hint="for example 0,1024,4k",
        )
    return sorted(depths)


def _mtp_modes(option: str | None, file: ModelFile) -> tuple[str, ...]:
    """Return the ways of drafting to measure."""
    from dslocal.cli.measuring.benchmark_run import has_draft_model

    mode = (option or "both").lower()
    if mode not in MTP_MODES:
        raise UsageError(f"--mtp: {option!r:.20} is not known", hint=", ".join(MTP_MODES))
    if has_draft_model(file):
        return MTP_MODES[mode]
    if option is not None and mode != "off":
        raise UsageError(
            "--mtp: the model has no multi-token-prediction layer",
            hint="files from dslocal convert have it, or a MODEL-mtp.gguf beside them; other files "
            "lack it",
        )
    return ("off",)


def _read_earlier(compare: Path | None, fingerprint: str) -> dict[FigureKey, float]:
    from dslocal.cli.measuring.bench_compare import read_earlier

    return read_earlier(compare, fingerprint) if compare else {}


def _json_fields(
    run: BenchmarkRun, fingerprint: str, repeat: int, *, interrupted: bool
) -> dict[str, Any]:
    figures = [figure.as_json() for figure in run.measured]
    return {**run.about(fingerprint, repeat), "figures": figures, "interrupted": interrupted}


def _compared_json(ratios: dict[FigureKey, float]) -> dict[str, Any]:
    compared = [
        {"what": what, "size": size, "mtp": mtp, "ratio": ratio}
        for (what, size, mtp), ratio in ratios.items()
    ]
    return {"compared": compared}


def _title(file: ModelFile) -> str:
    from dslocal.gguf.header import main_type

    return f"{file.name}, {main_type(file.header)}"


def _heading(run: BenchmarkRun, repeat: int) -> list[str]:
    """Return the lines above the table: the model, how it is loaded, how often it was measured."""
    config = run.load_config
    megabytes = run.file.header.file_size / 1e6
    size = f"{megabytes / 1e3:,.1f} GB" if megabytes >= 1000 else f"{megabytes:,.1f} MB"
    times = f"measured {repeat} times" if repeat > 1 else "measured once"
    return [
        f"{_title(run.file)}, {size}",
        f"{config.n_ctx:,} tokens of context, {config.kv_type.name.lower()} KV cache, "
        f"{_where(run)}; {times}",
    ]


def _where(run: BenchmarkRun) -> str:
    """Return where the model is computed, for people."""
    config = run.load_config
    if config.split:
        places = [
            f"{device.layers} layers at {device.endpoint}"
            if device.endpoint
            else f"{device.layers} layers on the GPU"
            for device in config.split
        ]
        return ", ".join(places)
    if config.n_gpu_layers:
        return f"{config.n_gpu_layers} layers on the GPU"
    return f"{run.threads} thread{'s' if run.threads != 1 else ''}"


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """Yield what receives what is being measured: a line on a terminal, once it takes QUIET_S."""
    from dslocal.terminal.sanitise import one_line

    began = time.monotonic()

    def report(what: str) -> None:
        if time.monotonic() - began > QUIET_S:
            print(f"\r\x1b[2K{one_line(name, 30)}: {what}", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield report
    finally:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
