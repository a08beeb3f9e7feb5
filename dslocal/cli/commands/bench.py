"""``dslocal bench``: how fast a model is on this machine, with the settings that ``ask`` and
``chat`` would run it with.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.options import AsJson, CpuMoe, Ctx, FamilyFlag, GpuLayers, Kv, ModelArgument
from dslocal.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dslocal import prompts
    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.gguf.header import GgufHeader
    from dslocal.plan.load_config import LoadConfig
    from dslocal.plan.search import Plan
    from dslocal.terminal.reports.bench_report import BenchFigure

PREFILL = 512  # tokens, besides the micro-batch
QUESTION = "Explain step by step how to work out 347 × 89."
FILLER = "Many rivers begin in the mountains, and the longest of them cross several countries before they reach the sea. "
MTP_WAYS = {"auto": ("auto",), "on": ("on",), "off": ("off",), "both": ("off", "on")}
MOST_DEPTHS, MOST_TOKENS, MOST_REPEATS = 32, 100_000, 100


def bench(
    model: ModelArgument = None,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="Draw decoding over depth into a PNG.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="OLD.json", help="Ratios to an earlier --json.", show_default=False
        ),
    ] = None,
    depths: Annotated[
        str, typer.Option("--depths", help="Tokens in the context that decoding is measured at.")
    ] = "0,1024,4096",
    tokens: Annotated[
        int,
        typer.Option("--tokens", min=8, max=MOST_TOKENS, help="Tokens to decode at each depth."),
    ] = 64,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            min=1,
            max=MOST_REPEATS,
            help="Times that all is measured, loading included.",
        ),
    ] = 3,
    mtp: Annotated[
        str | None,
        typer.Option(
            "--mtp",
            help="Draft with the MTP layer: auto, on, off or both. [both, where there is one]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    ctx: Ctx = None,
    kv: Kv = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: CpuMoe = None,
    family: FamilyFlag = None,
) -> None:
    """Measure loading, prefill, decoding, sampling and the time to the first token.

    Medians, and the spread: another program's work shows there. Ctrl-C ends it and keeps what was
    measured.
    """
    from dslocal.cli import bench_compare, session_setup
    from dslocal.engine import loader
    from dslocal.gguf.header import fingerprint
    from dslocal.terminal.reports import bench_report

    wanted = _depths(depths)
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UsageError(f"--plot: {plot.name!r:.80} is no PNG", hint="as speed.png")
        bench_report.require_plotting()
    path, header, spoken = session_setup.prepare(model, family)
    ways = _ways(mtp, header)
    identity = fingerprint(path)
    old = bench_compare.read_earlier(compare, identity) if compare else {}
    drafting = "off" if set(ways) <= {"off"} else "on"
    planned = loader.plan_for(
        path, header, session_setup.pins_for(header, ctx, kv, n_gpu_layers, cpu_moe, drafting)
    )
    load_config = planned.load_config
    if max(wanted, default=0) and tokens + 1 >= load_config.n_ctx:
        raise UsageError(
            f"--tokens: {tokens:,} do not fit a context of {load_config.n_ctx:,}",
            hint="fewer, or a larger --ctx",
        )
    bench_of = _Bench(path, header, spoken, load_config, wanted, tokens, ways, seed)
    interrupted = False
    try:
        with _progress(path.name) as report:
            for number in range(repeat):
                bench_of.run(_counted(report, number + 1, repeat))
    except KeyboardInterrupt:
        interrupted = True
    figures = [figure for figure in bench_of.figures.values() if figure.runs]
    _add_forecasts(figures, header, planned)
    ratios = bench_compare.ratios(figures, old)
    if as_json:
        about = _about(path, header, identity, load_config, bench_of.threads, tokens, repeat, seed)
        compared = [
            {"what": what, "size": size, "mtp": way, "ratio": ratio}
            for (what, size, way), ratio in ratios.items()
        ]
        found = {"figures": [figure.as_json() for figure in figures], "interrupted": interrupted}
        print(json.dumps({**about, **found, **({"compared": compared} if compare else {})}))
    elif figures:
        for line in bench_report.table(
            figures, _heading(path, header, load_config, bench_of.threads, repeat), ratios
        ):
            print(line)
    if plot is not None and (drawn := bench_report.curves(figures)):
        bench_report.save_plot(drawn, _name(path, header), plot)
    if interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _counted(report: Callable[[str], None], number: int, repeat: int) -> Callable[[str], None]:
    """``report`` with which of the repeats it is."""
    return lambda what: report(f"{what}, {number} of {repeat}")


class _Bench:
    """Measures one model as often as it is told to."""

    def __init__(
        self,
        path: Path,
        header: GgufHeader,
        family: prompts.Family,
        load_config: LoadConfig,
        depths: Sequence[int],
        tokens: int,
        ways: Sequence[str],
        seed: int,
    ) -> None:
        from dslocal.plan.memory.shape import can_draft
        from dslocal.terminal.reports.bench_report import BenchFigure

        self._path, self._family, self._loading, self._tokens, self._seed = (
            path,
            family,
            load_config,
            tokens,
            seed,
        )
        deepest = load_config.n_ctx - tokens - 1
        self._depths = list(dict.fromkeys(min(depth, deepest) for depth in depths))
        self._ways = list(ways) if can_draft(header) else [""]
        self._prefills = sorted(
            {min(size, load_config.n_ctx) for size in (PREFILL, load_config.n_ubatch)}
        )
        rows = [
            BenchFigure("load"),
            BenchFigure("cold"),
            BenchFigure("warm"),
            BenchFigure("sampling"),
        ]
        rows += [BenchFigure("prefill", size) for size in self._prefills]
        rows += [BenchFigure("decode", depth, way) for depth in self._depths for way in self._ways]
        self.figures = {figure.key: figure for figure in rows}
        self.threads = 0

    def run(self, report: Callable[[str], None]) -> None:
        """Everything once, from loading on. Raises KeyboardInterrupt on Ctrl-C, EngineError."""
        from dslocal.cli import session_setup
        from dslocal.engine import LlamaContext

        report("loading")
        began = time.perf_counter()
        with (
            session_setup.load(self._path, self._loading) as model,
            LlamaContext(model, self._loading) as context,
        ):
            self._figure("load").runs.append(time.perf_counter() - began)
            self.threads = context.n_threads
            self._measure(context, report)

    def _measure(self, context: LlamaContext, report: Callable[[str], None]) -> None:
        from dslocal.engine import benchmark

        question = self._ids(context.model, 0)
        for what in ("cold", "warm"):
            report("first token")
            self._figure(what).runs.append(
                benchmark.measure_first_token(context, question, self._seed)
            )
        self._figure("sampling").runs.append(benchmark.measure_sampling(context, self._seed))
        for size in self._prefills:
            report(f"prefill of {size:,} tokens")
            self._figure("prefill", size).runs.append(
                benchmark.measure_prefill(context, _filler(context.model, size))
            )
        for depth in self._depths:
            ids = self._ids(context.model, depth)
            for way in self._ways:
                report(f"decode at {depth:,} tokens" + (f", MTP {way}" if way else ""))
                decoded = benchmark.measure_decoding(
                    context, ids, self._tokens, self._seed, mtp=_mode(way)
                )
                figure = self._figure("decode", depth, way)
                figure.runs.append(decoded.rate)
                figure.drafted, figure.accepted = (
                    figure.drafted + decoded.drafted,
                    figure.accepted + decoded.accepted,
                )

    def _figure(self, what: str, size: int = 0, way: str = "") -> BenchFigure:
        return self.figures[what, size, way]

    def _ids(self, model: LlamaModel, depth: int) -> list[int]:
        """A question that follows other text, ``depth`` tokens in all, or the question's own if
        that is more.
        """
        from dslocal import prompts

        ids = prompts.encode(
            self._family.render([prompts.Message("user", QUESTION)], self._family.default_thinking),
            model,
        )
        return [*ids[:1], *_filler(model, max(0, depth - len(ids))), *ids[1:]]


def _filler(model: LlamaModel, tokens: int) -> list[int]:
    ids = model.encode(FILLER)
    return (ids * (tokens // len(ids) + 1))[:tokens]


def _depths(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_DEPTHS or not all(
        part.isdecimal() and part.isascii() and len(part) < 10 for part in parts
    ):
        raise UsageError(f"--depths: {text!r:.60} are no numbers of tokens", hint="as 0,1024,4096")
    return sorted({int(part) for part in parts})


def _ways(asked: str | None, header: GgufHeader) -> tuple[str, ...]:
    from dslocal.plan.memory.shape import can_draft

    has = can_draft(header)
    if asked is not None and asked.lower() not in MTP_WAYS:
        raise UsageError(f"--mtp: {asked!r:.20} is not known", hint=", ".join(MTP_WAYS))
    if asked is not None and asked.lower() != "off" and not has:
        raise UsageError(
            "--mtp: the model has no multi-token-prediction layer",
            hint="dslocal convert keeps it; other files lack it",
        )
    return MTP_WAYS[asked.lower() if asked else "both"] if has else ("off",)


def _mode(way: str) -> Any:
    return way or "off"


def _add_forecasts(figures: Sequence[BenchFigure], header: GgufHeader, planned: Plan) -> None:
    """The plan's forecast for decoding without drafts."""
    plain = [figure for figure in figures if figure.what == "decode" and figure.mtp in ("", "off")]
    if not plain:
        return
    from dslocal.api import machines
    from dslocal.plan.speed import tokens_per_s

    machine, rates = machines.machine_and_rates()
    load_config = replace(planned.load_config, mtp=False)
    for figure in plain:
        figure.forecast = tokens_per_s(
            header, load_config, planned.memory, machine, rates, figure.size / load_config.n_ctx
        )


def _name(path: Path, header: GgufHeader) -> str:
    from dslocal.gguf.header import main_type

    return f"{header.text('general.name') or path.stem}, {main_type(header)}"


def _heading(
    path: Path, header: GgufHeader, load_config: LoadConfig, threads: int, repeat: int
) -> list[str]:
    gpu = (
        f"{load_config.n_gpu_layers} layers on the GPU"
        if load_config.n_gpu_layers
        else f"{threads} thread{'s' if threads != 1 else ''}"
    )
    kv = load_config.kv_type.name.lower()
    again = f"measured {repeat} times" if repeat > 1 else "measured once"
    size = header.file_size / 1e6
    return [
        f"{_name(path, header)}, "
        + (f"{size / 1e3:,.1f} GB" if size >= 1000 else f"{size:,.1f} MB"),
        f"{load_config.n_ctx:,} tokens of context, {kv} KV cache, {gpu}; {again}",
    ]


def _about(
    path: Path,
    header: GgufHeader,
    identity: str,
    load_config: LoadConfig,
    threads: int,
    tokens: int,
    repeat: int,
    seed: int,
) -> dict[str, Any]:
    from dslocal import __version__
    from dslocal.engine import benchmark
    from dslocal.gguf.header import main_type
    from dslocal.plan.machine import probe

    machine = probe.probe_machine()
    name = header.text("general.name") or path.stem
    return {
        "dslocal": __version__,
        "machine": {
            "os": machine.os,
            "cpu": machine.cpu,
            "cores": machine.cores,
            "ram": machine.ram,
            "gpu": [
                {"name": gpu.name, "kind": gpu.kind, "total": gpu.total} for gpu in machine.gpus
            ],
        },
        "model": {
            "name": name,
            "quant": main_type(header),
            "bytes": header.file_size,
            "fingerprint": identity,
        },
        "settings": {
            "threads": threads,
            **load_config.as_json(),
            "mtp_loaded": load_config.mtp,
            "temperature": benchmark.TEMPERATURE,
            "top_p": benchmark.TOP_P,
            "tokens": tokens,
            "repeat": repeat,
            "seed": seed,
        },
    }


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """Yields what is told what is being measured: a line on a terminal, once it takes longer than a
    second.
    """
    from dslocal.terminal.sanitise import one_line

    began = time.monotonic()

    def report(what: str) -> None:
        if time.monotonic() - began > 1:
            print(f"\r\x1b[2K{one_line(name, 30)}: {what}", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield report
    finally:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
