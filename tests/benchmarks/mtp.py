"""What drafting with the MTP layer gains, beside llama-server on the same files: nano with a big
model's memory traffic, and bare nano.

    python tests/benchmarks/mtp.py [--questions 50] [--tokens 600] [--layers 20] [--width 32768]
    [--server LLAMA-SERVER] [--temperature T] [--gpu] [--fixed] [--threads N] [--cpu-time]

The model is made here (tests/make_nano/ballast.py; 60 layers of 131072 are 6.4 GB as Q8_0), as Q8_0
and as Q4_K_M. Every question is asked in
all ways one after the other, so that other work on the machine slows all of them alike;
llama-server is asked at temperature 0 alone, with 1, 2 and 3 drafts. ``--fixed`` measures our own
fixed numbers of drafts, too. Figures are tokens a second over all questions, and the median of the
questions' ratios. Below each table stand the gain of ``auto`` as a share of llama-server's best
gain, and what a round of ours consists of: its drafts, and how often the graphs of both contexts
were kept from one evaluation to the next. Greedy texts must be identical.

Where other programs want the cores, threads wait for each other much longer than they work, and
seconds say nothing: ``--threads 1 --cpu-time`` counts what each process computed.

On a GPU, with llama.cpp's libraries and llama-server built for it, about two minutes a model:

    LLAMA_CPP_LIB_PATH=LIBRARIES python tests/benchmarks/mtp.py --gpu --fixed --temperature 0
        --questions 12 --tokens 300 --server BIN/llama-server --only Q8_0
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler

# isort: split
# On a GPU numpy must come after llama_cpp (dslocal/gguf/libraries.py).
from make_nano import questions
from make_nano.ballast import add_ballast
from support.engine.llama_server import TOP_P, Ask, Said, server
from support.engine.speculation import prompt_ids

import dslocal.convert as converter
from dslocal import catalog
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import DraftMode, Speculation, enable_speculation
from dslocal.gguf import libraries
from dslocal.gguf.cpu_repack import repacked_types
from dslocal.plan.load_config import LoadConfig

SEED = 20251122
ON_CPU = LoadConfig(2048, n_outputs=4, mtp=True, repack=bool(repacked_types()))
ON_GPU = replace(ON_CPU, repack=False, n_gpu_layers=1000)
MIN_GAIN = {"Q8_0": 2.0, "Q4_K_M": 1.1}
BOTH: tuple[DraftMode, ...] = ("off", "auto")
SERVER_DRAFTS = (1, 2, 3)
MIN_SHARE = 0.98  # of the best gain of llama-server
MOST_LOST = 0.05  # of a run on bare nano


@dataclass
class Way:
    """All answers of one way to run the model."""

    name: str
    ask: Ask
    speculation: Speculation | None = None
    said: list[Said] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return sum(said.tokens for said in self.said) / sum(said.seconds for said in self.said)


def ours(
    model: LlamaModel,
    load_config: LoadConfig,
    mode: DraftMode,
    max_tokens: int,
    *,
    whole: bool = False,
    drafts: int | None = None,
    threads: int | None = None,
    cpu_time: bool = False,
) -> tuple[Ask, Speculation | None]:
    """A context of its own; ``whole`` counts the prefill as well, ``drafts`` fixes their number."""
    context = LlamaContext(model, load_config, n_threads=threads)
    speculation = enable_speculation(context, mode)
    if drafts and speculation:
        speculation.draft_length = DraftLength([drafts], optional=False)

    def ask(prompt: Sequence[int], temperature: float, seed: int) -> Said:
        generation = Generation(
            context, prompt, Sampler(temperature, TOP_P, seed), max_tokens=max_tokens
        )
        context.clear()
        began = time.process_time()
        ids = list(generation)
        seconds = generation.timings.decode + (generation.timings.prefill if whole else 0)
        if cpu_time:
            seconds = time.process_time() - began
        text = b"".join(map(model.piece, ids)).decode("utf-8", "replace")
        return Said(text, len(ids), seconds, generation.drafted, generation.accepted)

    return ask, speculation


def play(
    ways: Sequence[Way], asked: Sequence[tuple[Sequence[int], int | str]], temperature: float
) -> None:
    """Ask all questions in all ways. Ctrl-C leaves it at those that were asked in every way."""
    try:
        for number, (prompt, _) in enumerate(asked):
            order = [*ways[number % len(ways) :], *ways[: number % len(ways)]]
            for way in order:
                way.said.append(way.ask(prompt, temperature, SEED + number))
    except KeyboardInterrupt:
        complete = min(len(way.said) for way in ways)
        if not complete:
            raise
        for way in ways:
            del way.said[complete:]


def report(
    ways: Sequence[Way], asked: Sequence[tuple[Sequence[int], int | str]], title: str
) -> None:
    """A table; each way is compared with the one that its name begins like, which comes first."""
    print(
        f"\n{title}\n\n| way | tokens/s | gain | median gain | drafts right | right | same text"
        f" |\n|---|---|---|---|---|---|---|"
    )
    for way in ways:
        base = next(other for other in ways if other.name.split(",")[0] == way.name.split(",")[0])
        each = [
            b.seconds / b.tokens * s.tokens / s.seconds
            for b, s in zip(base.said, way.said, strict=True)
        ]
        drafted, accepted = (
            sum(getattr(said, what) for said in way.said) for what in ("drafted", "accepted")
        )
        drafts = f"{accepted:,} of {drafted:,}" if drafted else ""
        right = sum(
            questions.right(said.text, expected)
            for said, (_, expected) in zip(way.said, asked, strict=False)
        )
        same = sum(said.text == plain.text for said, plain in zip(way.said, base.said, strict=True))
        speeds = f"{way.rate:,.1f} | {way.rate / base.rate:.2f} | {median(each):.2f}"
        print(
            (
                f"| {way.name} | {speeds} | {drafts} | {right} of {len(way.said)} | {same} of"
                f" {len(way.said)} |"
            ),
            flush=True,
        )


def ballast(args: argparse.Namespace, folder: Path, quant: str) -> Path:
    """The GGUF of nano with ballast."""
    source = folder / "ballast"
    if not source.exists():
        add_ballast(catalog.load_registry()["nano"].folder, source, args.layers, args.width)
    return converted(source, folder / f"ballast-{quant}.gguf", quant)


def converted(source: Path, target: Path, quant: str) -> Path:
    checkpoint = converter.open_checkpoint(converter.FolderSource(source))
    converter.write_gguf(
        converter.plan_conversion(checkpoint, [converter.recipe_named(quant)]), [target]
    )
    return target


def measure_ballast(
    args: argparse.Namespace, load_config: LoadConfig, file: Path, quant: str
) -> None:
    r = random.Random(SEED)
    drawn = [questions.question(r) for _ in range(args.questions)]
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(LlamaModel(file, load_config))
        asked = [(prompt_ids(model, text), expected) for text, expected in drawn]
        how = {"threads": args.threads, "cpu_time": args.cpu_time}
        ways = [
            Way(f"dslocal, --mtp {mode}", *ours(model, load_config, mode, args.tokens, **how))
            for mode in BOTH
        ]
        if args.fixed:
            ways += [
                Way(
                    f"dslocal, {drafts} drafts",
                    *ours(model, load_config, "on", args.tokens, drafts=drafts, **how),
                )
                for drafts in SERVER_DRAFTS
            ]
        if args.server:
            place = ["-ngl", str(load_config.n_gpu_layers)]
            if not load_config.repack and not args.gpu:
                place.append("--no-repack")
            if args.threads:
                place += ["-t", str(args.threads)]
            names = {"llama-server, plain": place}
            for most in SERVER_DRAFTS:
                drafting = ["--spec-type", "draft-mtp", "--spec-draft-n-max", str(most)]
                names[f"llama-server, draft-mtp {most}"] = place + drafting
            for name, options in names.items():
                running = server(
                    args.server,
                    file,
                    args.tokens,
                    *options,
                    n_ctx=ON_CPU.n_ctx,
                    cpu_time=args.cpu_time,
                )
                ways.append(Way(name, stack.enter_context(running)))
        for temperature in args.temperature or (0.0, 0.6):
            asked_ways = [
                Way(way.name, way.ask, way.speculation)
                for way in ways
                if temperature == 0 or way.name.startswith("dslocal")
            ]
            play(asked_ways, asked, temperature)
            size = f"{file.stat().st_size / 1e6:,.0f} MB"
            report(
                asked_ways,
                asked,
                f"nano with ballast, {quant} ({size}), temperature {temperature:g}",
            )
            if temperature == 0:
                judge(asked_ways, quant)


def judge(ways: Sequence[Way], quant: str) -> None:
    """Say whether ``auto`` gains what is wanted, and as much as llama-server."""
    plain, auto = ways[:2]
    gain = auto.rate / plain.rate
    same = [said.text for said in plain.said] == [said.text for said in auto.said]
    print(
        f"\ngain {gain:.2f}, wanted {MIN_GAIN[quant]}: {'yes' if gain >= MIN_GAIN[quant] else 'NO'}"
        f"; same texts: {same}"
    )
    theirs = [way for way in ways if way.name.startswith("llama-server")]
    if theirs:
        best = max(way.rate / theirs[0].rate for way in theirs[1:])
        print(
            f"{gain / best:.3f} of llama-server's best gain {best:.2f}, wanted {MIN_SHARE}: "
            f"{'yes' if gain >= MIN_SHARE * best else 'NO'}"
        )
    for way in ways:
        if way.speculation and way.said:
            print(f"{way.name}: {_round(way)}")


def _round(way: Way) -> str:
    """What one cycle of ours consists of."""
    speculation = way.speculation
    drafter = speculation.drafter if speculation else None
    if speculation is None or not isinstance(drafter, MtpDrafter):
        return ""
    cycles = sum(said.tokens - said.accepted for said in way.said)
    drafted = sum(said.drafted for said in way.said)
    reused = libraries.require().llama_perf_context
    parts = [f"{drafted / cycles:.2f} drafts", f"best length {speculation.draft_length.best}"]
    for name, handle in (("target", speculation.context.handle), ("layer", drafter.handle)):
        if handle:
            parts.append(f"{reused(handle).n_reused / cycles:.2f} graphs of the {name} reused")
    return f"{cycles} cycles, each with " + ", ".join(parts)


def measure_bare(args: argparse.Namespace, load_config: LoadConfig, file: Path) -> None:
    """Prefill included: auto must not lose there either. Two runs without show what the machine's
    other work makes of one and the same.
    """
    r = random.Random(SEED)
    drawn = [questions.question(r) for _ in range(args.questions)]
    with LlamaModel(file, load_config) as model:
        asked = [(prompt_ids(model, text), expected) for text, expected in drawn]
        modes: tuple[DraftMode, ...] = ("off", "off", "auto", "on")
        ways = [
            Way(
                f"dslocal, --mtp {mode}", ours(model, load_config, mode, args.tokens, whole=True)[0]
            )
            for mode in modes
        ]
        ways[1].name += " again"
        play(ways, asked, 0.6)
        report(ways, asked, "bare nano, Q8_0, temperature 0.6, prefill included")
        lost = 1 - ways[2].rate / ways[0].rate
        print(
            f"\nauto loses {lost:.1%}, allowed {MOST_LOST:.0%}:"
            f" {'yes' if lost <= MOST_LOST else 'NO'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=600, help="of an answer, at most")
    parser.add_argument("--threads", type=int, help="of the CPU, for both programs")
    parser.add_argument("--cpu-time", action="store_true", help="count it instead of time")
    parser.add_argument("--fixed", action="store_true", help="our own 1, 2 and 3 drafts, too")
    parser.add_argument("--layers", type=int, default=20, help="of ballast")
    parser.add_argument("--width", type=int, default=32768, help="of ballast")
    parser.add_argument("--server", type=Path)
    parser.add_argument("--only", choices=["bare", *MIN_GAIN])
    parser.add_argument("--temperature", type=float, action="append", help="0 and 0.6 by default")
    parser.add_argument("--gpu", action="store_true", help="all layers on the GPU")
    args = parser.parse_args()
    load_config = ON_GPU if args.gpu else ON_CPU
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for quant in MIN_GAIN:
            if args.only in (None, quant):
                measure_ballast(args, load_config, ballast(args, folder, quant), quant)
        if args.only in (None, "bare"):
            measure_bare(
                args,
                load_config,
                converted(catalog.load_registry()["nano"].folder, folder / "nano.gguf", "Q8_0"),
            )


if __name__ == "__main__":
    main()
