"""What drafting with the MTP layer gains, beside llama-server on the same files: nano with a big
model's memory traffic, and bare nano.

    python tests/benchmarks/mtp.py [--questions 50] [--python PYTHON] [--ballast FOLDER] [--server
    LLAMA-SERVER] [--temperature T] [--gpu]

The model is made here (tests/make_nano/ballast.py, which needs torch: PYTHON is an interpreter that
has it, FOLDER a checkpoint that was made before), as Q8_0 and as Q4_K_M. Every question is asked in
all ways one after the other, so that other work on the machine slows all of them alike;
llama-server is asked at temperature 0 alone. Figures are tokens a second over all questions, and
the median of the questions' ratios. Greedy texts must be identical.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_nano import questions
from support.engine.speculation import prompt_ids

import dslocal.convert as converter
from dslocal import catalog
from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.speculation.speculation import DraftMode, Speculation, enable_speculation
from dslocal.plan.load_config import LoadConfig

SEED = 20251122
MAX_TOKENS = 600
TOP_P = 0.95
ON_CPU = LoadConfig(2048, n_outputs=4, mtp=True, repack=True)
ON_GPU = replace(ON_CPU, repack=False, n_gpu_layers=1000)
MIN_GAIN = {"Q8_0": 2.0, "Q4_K_M": 1.1}
BOTH: tuple[DraftMode, ...] = ("off", "auto")
MOST_LOST = 0.05  # of a run on bare nano
Ask = Callable[[Sequence[int], float, int], "Said"]


@dataclass(frozen=True)
class Said:
    """One answer: its text, and what it took."""

    text: str
    tokens: int
    seconds: float
    drafted: int = 0
    accepted: int = 0


@dataclass
class Way:
    """All answers of one way to run the model."""

    name: str
    ask: Ask
    said: list[Said] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return sum(said.tokens for said in self.said) / sum(said.seconds for said in self.said)


def ours(
    model: LlamaModel, load_config: LoadConfig, mode: DraftMode, *, whole: bool = False
) -> tuple[Ask, Speculation | None]:
    """A context of its own; ``whole`` counts the prefill as well."""
    context = LlamaContext(model, load_config)
    speculation = enable_speculation(context, mode)

    def ask(prompt: Sequence[int], temperature: float, seed: int) -> Said:
        generation = Generation(
            context, prompt, Sampler(temperature, TOP_P, seed), max_tokens=MAX_TOKENS
        )
        context.clear()
        ids = list(generation)
        seconds = generation.timings.decode + (generation.timings.prefill if whole else 0)
        text = b"".join(map(model.piece, ids)).decode("utf-8", "replace")
        return Said(text, len(ids), seconds, generation.drafted, generation.accepted)

    return ask, speculation


@contextlib.contextmanager
def server(binary: Path, file: Path, *options: str) -> Iterator[Ask]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(binary),
        "-m",
        str(file),
        "--port",
        str(port),
        "-c",
        str(ON_CPU.n_ctx),
        "-np",
        "1",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(port, process)
            yield lambda prompt, temperature, seed: _post(port, prompt, temperature, seed)
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"llama-server ended with {process.returncode}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SystemExit("llama-server did not start")


def _post(port: int, prompt: Sequence[int], temperature: float, seed: int) -> Said:
    sampling = {
        "temperature": temperature,
        "top_p": TOP_P,
        "top_k": 0,
        "min_p": 0,
        "seed": seed,
        "samplers": ["temperature", "top_p"],
    }
    body = {"prompt": list(prompt), "n_predict": MAX_TOKENS, "cache_prompt": False, **sampling}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        found = json.load(answer)
    timings = found["timings"]
    drafted, accepted = timings.get("draft_n", 0), timings.get("draft_n_accepted", 0)
    return Said(
        found["content"], timings["predicted_n"], timings["predicted_ms"] / 1000, drafted, accepted
    )


def play(
    ways: Sequence[Way], asked: Sequence[tuple[Sequence[int], int | str]], temperature: float
) -> None:
    for number, (prompt, _) in enumerate(asked):
        order = [*ways[number % len(ways) :], *ways[: number % len(ways)]]
        for way in order:
            way.said.append(way.ask(prompt, temperature, SEED + number))


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
            for said, (_, expected) in zip(way.said, asked, strict=True)
        )
        same = sum(said.text == plain.text for said, plain in zip(way.said, base.said, strict=True))
        speeds = f"{way.rate:,.1f} | {way.rate / base.rate:.2f} | {median(each):.2f}"
        print(
            (
                f"| {way.name} | {speeds} | {drafts} | {right} of {len(asked)} | {same} of"
                f" {len(asked)} |"
            ),
            flush=True,
        )


def ballast(args: argparse.Namespace, folder: Path, quant: str) -> Path:
    """The GGUF of nano with ballast."""
    source = args.ballast or folder / "ballast"
    if not source.exists():
        command = [
            args.python,
            "-m",
            "nano.ballast",
            str(catalog.load_registry()["nano"].folder),
            str(source),
        ]
        subprocess.run(
            command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL
        )
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
        asks: dict[str, Ask] = {
            f"dslocal, --mtp {mode}": ours(model, load_config, mode)[0] for mode in BOTH
        }
        if args.server:
            place = ("-ngl", str(load_config.n_gpu_layers))
            asks["llama-server, plain"] = stack.enter_context(server(args.server, file, *place))
            for most in (1, 3):
                options = (*place, "--spec-type", "draft-mtp", "--spec-draft-n-max", str(most))
                asks[f"llama-server, draft-mtp {most}"] = stack.enter_context(
                    server(args.server, file, *options)
                )
        for temperature in args.temperature or (0.0, 0.6):
            ways = [
                Way(name, ask)
                for name, ask in asks.items()
                if temperature == 0 or name.startswith("dslocal")
            ]
            play(ways, asked, temperature)
            report(
                ways,
                asked,
                (
                    f"nano with ballast, {quant} ({file.stat().st_size / 1e6:,.0f} MB), temperature"
                    f" {temperature:g}"
                ),
            )
            if temperature == 0:
                gain = ways[1].rate / ways[0].rate
                same = [said.text for said in ways[0].said] == [said.text for said in ways[1].said]
                print(
                    f"\ngain {gain:.2f}, wanted {MIN_GAIN[quant]}:"
                    f" {'yes' if gain >= MIN_GAIN[quant] else 'NO'}; same texts: {same}"
                )


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
            Way(f"dslocal, --mtp {mode}", ours(model, load_config, mode, whole=True)[0])
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
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--ballast", type=Path)
    parser.add_argument("--server", type=Path)
    parser.add_argument("--only", choices=["bare", *MIN_GAIN])
    parser.add_argument("--temperature", type=float, action="append", help="0 and 0.6 unless told")
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
