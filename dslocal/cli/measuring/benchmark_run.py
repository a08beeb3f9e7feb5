"""The measurements of ``dslocal bench`` for one model, repeated as ``--repeat`` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dslocal import __version__, prompts
from dslocal.cli import session_setup
from dslocal.cli.session_setup import ModelFile
from dslocal.gguf.header import main_type
from dslocal.plan import mtp_file
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine import probe
from dslocal.plan.memory.shape import can_draft
from dslocal.plan.search import Plan
from dslocal.terminal.reports.bench_report import BenchFigure, FigureKey
from dslocal.types import StreamingUse

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext, LlamaModel

PREFILL_TOKENS = 512  # besides the micro-batch
QUESTION = "Explain step by step how to work out 347 × 89."
FILLER = (
    "Many rivers begin in the mountains, and the longest of them cross several countries before "
    "they reach the sea. "
)
NO_MTP = ""  # of a model without an MTP layer

Report = Callable[[str], None]


def has_draft_model(file: ModelFile) -> bool:
    """Return whether a model can draft, with its MTP layer or a draft model beside it."""
    return can_draft(file.header) or mtp_file.find_sidecar(file.path, file.header) is not None


class Workload(NamedTuple):
    """What is measured.

    Attributes:
        depths: Tokens in the context that decoding is measured at.
        tokens: Tokens that are decoded at each.
        mtp_modes: "auto", "on" and "off": how decoding drafts.
        seed: The seed of what is sampled.
    """

    depths: Sequence[int]
    tokens: int
    mtp_modes: Sequence[str]
    seed: int


@dataclass
class BenchmarkRun:
    """Measures one model, and collects the figures.

    Attributes:
        file: The model.
        load_config: How it is loaded.
        workload: What is measured.
        figures: The figures, by what they are.
        threads: The CPU threads that were used.
    """

    file: ModelFile
    load_config: LoadConfig
    workload: Workload
    figures: dict[FigureKey, BenchFigure] = field(init=False)
    threads: int = 0

    def __post_init__(self) -> None:
        config, workload = self.load_config, self.workload
        deepest = config.n_ctx - workload.tokens - 1
        self._depths = list(dict.fromkeys(min(depth, deepest) for depth in workload.depths))
        self._mtp_modes = list(workload.mtp_modes) if has_draft_model(self.file) else [NO_MTP]
        self._prefills = sorted(
            {min(size, config.n_ctx) for size in (PREFILL_TOKENS, config.n_ubatch)}
        )
        figures = [BenchFigure(what) for what in ("load", "cold", "warm", "sampling")]
        figures += [BenchFigure("prefill", size) for size in self._prefills]
        figures += [
            BenchFigure("decode", depth, mode) for depth in self._depths for mode in self._mtp_modes
        ]
        self.figures = {figure.key: figure for figure in figures}

    @property
    def measured(self) -> list[BenchFigure]:
        """Return the figures that were measured at least once."""
        return [figure for figure in self.figures.values() if figure.runs]

    def run_once(self, report: Report) -> None:
        """Measure everything once, from loading on.

        Args:
            report: Receives what is being measured.

        Raises:
            KeyboardInterrupt: Ctrl-C; what was measured stays.
            EngineError: llama.cpp failed.
        """
        from dslocal.engine import LlamaContext

        report("loading")
        began = time.perf_counter()
        with (
            session_setup.load_model(
                self.file.path, self.load_config, header=self.file.header
            ) as model,
            self._open_draft_model() as draft_model,
            LlamaContext(model, self.load_config) as context,
        ):
            self._figure("load").runs.append(time.perf_counter() - began)
            self.threads = context.n_threads
            self._measure_first_token(context, report)
            self._measure_prefill(context, report)
            self._measure_decoding(context, draft_model, report)

    def _open_draft_model(self) -> AbstractContextManager[LlamaModel | None]:
        from dslocal.engine import loader

        found = loader.open_sidecar(self.file.path, self.file.header, self.load_config)
        return found or nullcontext()

    def add_forecasts(self, planned: Plan) -> None:
        """Add the plan's forecast for decoding without drafts."""
        plain = [
            figure
            for figure in self.measured
            if figure.what == "decode" and figure.mtp in (NO_MTP, "off")
        ]
        if not plain:
            return
        from dslocal.api.planning import machines
        from dslocal.plan.speed import tokens_per_s

        machine, rates = machines.machine_and_rates()
        config = replace(planned.load_config, mtp=False)
        if planned.verdict == "ssd":
            rates = machines.with_ssd_of(
                self.file.path, machine, rates, stream_experts=config.stream_experts
            )
        for figure in plain:
            filled = figure.size / config.n_ctx
            figure.forecast = tokens_per_s(
                self.file.header, config, planned.memory, machine, rates, filled
            )

    def about(self, fingerprint: str, repeat: int) -> dict[str, Any]:
        """Return what was measured, where and how, as JSON."""
        from dslocal.engine.measuring import benchmark

        machine = probe.probe_machine()
        header = self.file.header
        gpus = [{"name": gpu.name, "kind": gpu.kind, "total": gpu.total} for gpu in machine.gpus]
        return {
            "dslocal": __version__,
            "machine": {
                "os": machine.os,
                "cpu": machine.cpu,
                "cores": machine.cores,
                "ram": machine.ram,
                "gpu": gpus,
            },
            "model": {
                "name": self.file.name,
                "quant": main_type(header),
                "bytes": header.file_size,
                "fingerprint": fingerprint,
            },
            "settings": {
                "threads": self.threads,
                **self.load_config.as_json(),
                "mtp_loaded": self.load_config.mtp,
                "temperature": benchmark.TEMPERATURE,
                "top_p": benchmark.TOP_P,
                "tokens": self.workload.tokens,
                "repeat": repeat,
                "seed": self.workload.seed,
            },
        }

    def _figure(self, what: str, size: int = 0, mtp: str = NO_MTP) -> BenchFigure:
        return self.figures[what, size, mtp]

    def _measure_first_token(self, context: LlamaContext, report: Report) -> None:
        from dslocal.engine.measuring import benchmark

        question = self._question(context.model, 0)
        seed = self.workload.seed
        for what in ("cold", "warm"):
            report("first token")
            seconds = benchmark.measure_first_token(context, question, seed)
            self._figure(what).runs.append(seconds)
        self._figure("sampling").runs.append(benchmark.measure_sampling(context, seed))

    def _measure_prefill(self, context: LlamaContext, report: Report) -> None:
        from dslocal.engine.measuring import benchmark

        for size in self._prefills:
            report(f"prefill of {size:,} tokens")
            rate = benchmark.measure_prefill(context, _filler(context.model, size))
            self._figure("prefill", size).runs.append(rate)

    def _measure_decoding(
        self, context: LlamaContext, draft_model: LlamaModel | None, report: Report
    ) -> None:
        from dslocal.engine.measuring import benchmark

        workload = self.workload
        for depth in self._depths:
            ids = self._question(context.model, depth)
            for mtp in self._mtp_modes:
                report(f"decode at {depth:,} tokens" + (f", MTP {mtp}" if mtp else ""))
                mode: Any = mtp or "off"
                decoded = benchmark.measure_decoding(
                    context,
                    ids,
                    workload.tokens,
                    workload.seed,
                    mtp=mode,
                    draft_model=draft_model,
                )
                figure = self._figure("decode", depth, mtp)
                figure.runs.append(decoded.rate)
                figure.drafted += decoded.drafted
                figure.accepted += decoded.accepted
                if decoded.streaming:
                    figure.streaming = (figure.streaming or StreamingUse()) + decoded.streaming

    def _question(self, model: LlamaModel, depth: int) -> list[int]:
        """Return the ids of a question that follows other text, ``depth`` tokens in all.

        A question that is longer is returned whole.
        """
        family = self.file.family
        messages = [prompts.Message("user", QUESTION)]
        ids = prompts.encode(family.render(messages, family.default_thinking), model)
        return [*ids[:1], *_filler(model, max(0, depth - len(ids))), *ids[1:]]


def _filler(model: LlamaModel, tokens: int) -> list[int]:
    """Return so many ids of text that means nothing."""
    ids = model.encode(FILLER)
    return (ids * (tokens // len(ids) + 1))[:tokens]
